/* SPDX-License-Identifier: MIT
 *
 * Readiness of a descriptor as an event of Node's event loop; see poll.c.
 */
#ifndef VTEPD_POLL_H
#define VTEPD_POLL_H

#include <node_api.h>

int poll_start(napi_env env, int fd, napi_value callback, napi_value *handle);
int poll_stop(napi_env env, napi_value handle);

#endif
