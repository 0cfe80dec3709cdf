/* SPDX-License-Identifier: MIT
 *
 * The error queue of a sending socket: what the kernel, or a router by ICMP, said of earlier datagrams (ip(7),
 * IP_RECVERR). Read when epoll reports an error and when a send has failed, both times to the end: as long as it
 * holds anything, sends fail and the loop is woken.
 *
 * Of all that stands there only "too large" outlives the reading: it becomes a row of path errors. Whoever owns
 * those rows decides whether to believe them. An unconnected socket hears any ICMP message that quotes its address
 * and source port, whomever the quoted datagram was for (requirements/path_errors.c); so a row may name an address
 * that nothing was ever sent to.
 */
#include "address.h"

#include <errno.h>
#include <time.h>

#include <linux/errqueue.h>

/* Messages read at once. The pool's tiny receive buffers hold fewer. */
#define READ_MAX 256

/* IP_RECVERR: what happened, and who said so. */
union error_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
};

static int32_t origin_of(const struct sock_extended_err *err)
{
	if (err->ee_origin == SO_EE_ORIGIN_LOCAL)
		return PATH_ERROR_LOCAL;
	return err->ee_origin == SO_EE_ORIGIN_ICMP || err->ee_origin == SO_EE_ORIGIN_ICMP6 ? PATH_ERROR_ICMP : 0;
}

/* What a message says of a path; an origin of 0 if it is about something else. */
static struct path_error read_message(struct msghdr *header, const union address *to)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(header);
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

/* A batch for a path that is too small brings the same row a hundred times. */
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
 * udp_read_errors() - empty the error queue of a socket, so that it stops failing sends and waking the loop
 * @errors:	what it says of paths is added, each row once
 *
 * Also clears an error that is pending without a message: anyone can fill the receive buffer of a
 * sending socket, as nobody reads from it; ICMP errors then find no room in the queue, and epoll
 * reports them without end.
 *
 * #syscalls recvmsg getsockopt
 * Return: messages read, of whatever kind.
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
	/* An error that found no room in the queue is pending all the same; asking for it clears it. */
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &len);
	return count;
}
