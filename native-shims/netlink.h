/* SPDX-License-Identifier: MIT
 *
 * Netlink sockets (netlink(7)): requests with their answers, and notifications. See netlink.c.
 */
#ifndef VTEPD_NETLINK_H
#define VTEPD_NETLINK_H

#include <stddef.h>
#include <stdint.h>

#define NETLINK_GROUPS_MAX 32

/**
 * struct netlink_answer - the messages that answer a request
 * @data:	messages as received, allocated; the caller frees it
 * @len:	bytes
 */
struct netlink_answer {
	uint8_t *data;
	size_t len;
};

int netlink_open(int protocol, const int32_t *groups, size_t count);
int64_t netlink_receive(int fd, uint8_t *buffer, size_t size);
int netlink_request(int protocol, const uint8_t *messages, size_t len, struct netlink_answer *answer);

#endif
