/* SPDX-License-Identifier: MIT
 *
 * Netlink requests on a thread of Node's pool; see background.c.
 */
#ifndef VTEPD_BACKGROUND_H
#define VTEPD_BACKGROUND_H

#include <stddef.h>
#include <stdint.h>

#include <node_api.h>

int request_in_background(napi_env env, int protocol, const uint8_t *messages, size_t len, napi_value *promise);

#endif
