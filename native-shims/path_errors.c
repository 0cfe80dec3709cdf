/* SPDX-License-Identifier: MIT
 *
 * Error queues of the sending sockets (ip(7), IP_RECVERR).
 *
 * The queue holds errors that the kernel, or a router by ICMP, reported for earlier datagrams. The
 * queue is read completely when epoll reports an error and after a failed send, because a message
 * that stays in the queue can fail further sends and wakes the loop again.
 *
 * Only "too large" errors are kept, as path errors. The caller decides whether to trust them. An
 * unconnected socket receives any ICMP message that quotes its address and source port, whatever
 * the destination of the quoted datagram (requirements/path_errors.c); a path error can therefore
 * name an address to which nothing was ever sent.
 */
#include "address.h"

#include <errno.h>
#include <time.h>

#include <linux/errqueue.h>

/* Maximum messages read per call. The pool's small receive buffers hold fewer. */
#define READ_MAX 256

/*
 * Control messages of an error: IP_RECVERR with the error and its sender, last, and those of a
 * receiving socket: TOS or traffic class and the arrival device.
 */
union error_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6)) +
		      CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static int32_t origin_of(const struct sock_extended_err *err)
{
	if (err->ee_origin == SO_EE_ORIGIN_LOCAL)
		return PATH_ERROR_LOCAL;
	return err->ee_origin == SO_EE_ORIGIN_ICMP || err->ee_origin == SO_EE_ORIGIN_ICMP6 ? PATH_ERROR_ICMP : 0;
}

static struct cmsghdr *find_error(struct msghdr *header)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(header);

	while (c && !(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
	       !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
		c = CMSG_NXTHDR(header, c);
	return c;
}

/*
 * Converts a message into a path error. The origin 0 means that the message reports an error of
 * another kind.
 */
static struct path_error read_message(struct msghdr *header, const union address *to)
{
	struct cmsghdr *control = find_error(header);
	struct path_error error = { 0 };
	struct sock_extended_err err;
	struct peer_row row = { 0 };

	if (!control || control->cmsg_len < CMSG_LEN(sizeof(err)) || !header->msg_namelen)
		return error;
	memcpy(&err, CMSG_DATA(control), sizeof(err));
	if (err.ee_errno != EMSGSIZE)
		return error;
	pack_address(&row, to);
	error = (struct path_error){
		.family = row.family,
		.port = row.port,
		.scope_id = row.scope_id,
		.mtu = err.ee_info <= INT32_MAX ? (int32_t)err.ee_info : INT32_MAX,
		.origin = origin_of(&err),
	};
	memcpy(error.addr, row.addr, sizeof(error.addr));
	return error;
}

/*
 * Adds a path error, unless an equal one is present: otherwise a batch for a narrow path would add
 * a hundred equal path errors.
 */
static void add_row(struct path_errors *errors, const struct path_error *error)
{
	if (errors->count < 0 || errors->count >= PATH_ERRORS_CAP)
		return;
	for (int32_t k = 0; k < errors->count; k++)
		if (memcmp(&errors->rows[k], error, sizeof(*error)) == 0)
			return;
	errors->rows[errors->count++] = *error;
}

/**
 * udp_read_errors() - empty a socket's error queue, so that it stops failing sends and waking the
 * loop
 * @errors:	receives the path errors; of equal ones, only the first
 *
 * Also clears an error that is pending without a message. Anyone can fill the receive buffer of a
 * sending socket, because vtepd does not read from it. The queue then has no space for the message
 * of an ICMP error. The error is pending all the same, and epoll would report it forever.
 *
 * #syscalls recvmsg getsockopt
 * Return: messages read, of any kind.
 */
int udp_read_errors(int fd, struct path_errors *errors)
{
	socklen_t len = sizeof(int);
	int count, pending;

	for (count = 0; count < READ_MAX; count++) {
		union error_control control;
		union address to;
		struct msghdr header = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_control = &control,
					 .msg_controllen = sizeof(control) };
		struct path_error error;

		if (recvmsg(fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			break;
		error = read_message(&header, &to);
		if (error.origin)
			add_row(errors, &error);
	}
	/* An error that did not fit into the queue is still pending; reading SO_ERROR clears it. */
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &len);
	return count;
}
