/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: the error queue of a socket (path_errors.c).
 * WRAP recvmsg getsockopt
 *
 * Oracle: each distinct "too large" message of a known origin with a complete control message
 * becomes one path error with its address and MTU, up to the capacity. There are no other path
 * errors. The queue is emptied and the pending error cleared.
 */
#include "../../address.h"
#include "control.h"

#include <linux/errqueue.h>

#define FD 7

static struct path_error wanted[64];
static int wanted_count, messages, is_cleared;

static void want(const union address *to, const struct sock_extended_err *err)
{
	struct path_error row = { .family = to->any.sa_family, .port = ntohs(to->ipv4.sin_port) };

	row.origin = err->ee_origin == SO_EE_ORIGIN_LOCAL ? PATH_ERROR_LOCAL : PATH_ERROR_ICMP;
	row.mtu = err->ee_info > INT32_MAX ? INT32_MAX : (int32_t)err->ee_info;
	if (row.family == AF_INET) {
		memcpy(row.addr, &to->ipv4.sin_addr, 4);
	} else {
		memcpy(row.addr, &to->ipv6.sin6_addr, 16);
		row.scope_id = to->ipv6.sin6_scope_id;
	}
	for (int k = 0; k < wanted_count; k++)
		if (memcmp(&wanted[k], &row, sizeof(row)) == 0)
			return;
	if (wanted_count < (int)(sizeof(wanted) / sizeof(wanted[0])))
		wanted[wanted_count++] = row;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *header, int flags);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);

ssize_t __wrap_recvmsg(int fd, struct msghdr *header, int flags)
{
	struct {
		struct sock_extended_err err;
		struct sockaddr_in6 offender;
	} message = { 0 };
	union address to = { 0 };
	size_t room = header->msg_controllen, len = sizeof(message);
	uint32_t form;

	ORACLE(fd == FD && flags == (MSG_ERRQUEUE | MSG_DONTWAIT));
	if (!input.left) {
		errno = EAGAIN;
		return -1;
	}
	form = take(1);
	message.err.ee_errno = form & 1 ? take(1) : EMSGSIZE;
	message.err.ee_origin = (uint8_t)(form >> 1 & 3) + (form & 8 ? 1 : 0);
	message.err.ee_info = form & 16 ? take(4) : take(1);
	if (form & 32) {
		to.ipv6.sin6_family = AF_INET6;
		to.ipv6.sin6_port = htons(4789);
		to.ipv6.sin6_scope_id = take(1);
		to.ipv6.sin6_addr.s6_addr[15] = (uint8_t)take(1);
	} else {
		to.ipv4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(4789) };
		to.ipv4.sin_addr.s_addr = take(1);
	}
	ORACLE(header->msg_namelen == sizeof(to));
	header->msg_namelen = form & 64 && take_below(8) == 7 ? 0 : form & 32 ? sizeof(to.ipv6) : sizeof(to.ipv4);
	memcpy(header->msg_name, &to, header->msg_namelen);
	header->msg_controllen = 0;
	if (form & 128)
		len = take_below(sizeof(message) + 1);
	if (put_cmsg(header, room, form & 32 ? IPPROTO_IPV6 : IPPROTO_IP, form & 32 ? IPV6_RECVERR : IP_RECVERR, &message,
		     len) &&
	    len >= sizeof(message.err) && header->msg_namelen && message.err.ee_errno == EMSGSIZE &&
	    message.err.ee_origin >= SO_EE_ORIGIN_LOCAL && message.err.ee_origin <= SO_EE_ORIGIN_ICMP6)
		want(&to, &message.err);
	messages++;
	return 0;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	ORACLE(fd == FD && level == SOL_SOCKET && name == SO_ERROR && *len == sizeof(int));
	memset(value, 0, sizeof(int));
	is_cleared = 1;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct path_errors *errors = calloc(1, sizeof(*errors));
	int32_t count;

	input = (struct input){ data, size };
	wanted_count = messages = is_cleared = 0;
	count = take_below(8) == 7 ? take_lie(PATH_ERRORS_CAP, PATH_ERRORS_CAP) : 0;
	errors->count = count;
	ORACLE(udp_read_errors(FD, errors) == messages && messages <= 256 && is_cleared);
	if (count == 0) {
		ORACLE(errors->count == (wanted_count < PATH_ERRORS_CAP ? wanted_count : PATH_ERRORS_CAP));
		ORACLE(memcmp(errors->rows, wanted, sizeof(wanted[0]) * (size_t)errors->count) == 0);
	} else if (count < 0 || count >= PATH_ERRORS_CAP) {
		ORACLE(errors->count == count);
	} else {
		ORACLE(errors->count >= count && errors->count <= PATH_ERRORS_CAP);
	}
	free(errors);
	return 0;
}
