/* SPDX-License-Identifier: MIT
 *
 * Control messages as written by the kernel: put_cmsg() of net/core/scm.c.
 */
#ifndef VTEPD_FUZZ_CONTROL_H
#define VTEPD_FUZZ_CONTROL_H

#include "fuzz.h"

/*
 * Appends a message at header->msg_controllen, within room bytes. A message that does not fit is
 * truncated or omitted, and MSG_CTRUNC is set. Returns true if it is complete.
 */
static inline int put_cmsg(struct msghdr *header, size_t room, int level, int type, const void *value, size_t len)
{
	struct cmsghdr message = { .cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type };
	uint8_t *at = (uint8_t *)header->msg_control + header->msg_controllen;
	size_t left = room - header->msg_controllen;

	if (left < sizeof(message)) {
		header->msg_flags |= MSG_CTRUNC;
		return 0;
	}
	if (left < message.cmsg_len) {
		header->msg_flags |= MSG_CTRUNC;
		message.cmsg_len = left;
	}
	memcpy(at, &message, sizeof(message));
	memcpy(at + sizeof(message), value, message.cmsg_len - sizeof(message));
	header->msg_controllen += CMSG_SPACE(len) < left ? CMSG_SPACE(len) : left;
	return message.cmsg_len == CMSG_LEN(len);
}

#endif
