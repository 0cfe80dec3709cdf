/* SPDX-License-Identifier: MIT
 *
 * Netlink sockets (netlink(7)): requests with their answers, and notifications.
 *
 * TypeScript assembles and parses the messages (src/host/netlink); this file moves their bytes.
 *
 * A request uses a socket of its own, so that answers never mix with notifications, and requests
 * of several threads never with each other. The kernel executes a request within send(2) and
 * queues the answer; a dump is continued by each recv(2). A request can wait for the lock of
 * rtnetlink, which other processes hold for up to some hundred milliseconds. netlink_request()
 * therefore runs on a thread of the pool.
 */
#include "netlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/netlink.h>

#ifndef NETLINK_EXT_ACK
#define NETLINK_EXT_ACK 11
#endif
#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

/* The kernel fills dump messages up to 32 KB. */
#define RECEIVE_SPACE (64 * 1024)
/* A dump of a million routes is about 100 MB. */
#define ANSWER_MAX (512ul * 1024 * 1024)
/* Notifications wait in this buffer while the reader pauses. */
#define NOTIFICATIONS_LEN (4 * 1024 * 1024)
#define TIMEOUT_S 10

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno : 0;
}

static int open_socket(int protocol, int flags)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, protocol);
	int err;

	if (fd < 0)
		return -errno;
	if (!bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/**
 * netlink_open() - open a non-blocking socket that receives the notifications of groups
 * @protocol:	NETLINK_ROUTE, NETLINK_XFRM, NETLINK_NETFILTER
 * @groups:	numbers of groups, such as RTNLGRP_LINK
 *
 * #syscalls socket bind setsockopt close
 * Return: fd; -EPROTONOSUPPORT the kernel lacks the protocol; -EPERM a group that requires
 * CAP_NET_ADMIN; -EINVAL no such group; else a negative errno.
 */
int netlink_open(int protocol, const int32_t *groups, size_t count)
{
	int fd = open_socket(protocol, SOCK_NONBLOCK);
	int err = 0;

	if (fd < 0)
		return fd;
	if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, NOTIFICATIONS_LEN))
		set(fd, SOL_SOCKET, SO_RCVBUF, NOTIFICATIONS_LEN);
	for (size_t i = 0; i < count && !err; i++)
		err = set(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, groups[i]);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* Receives one datagram from the kernel; messages of other senders are discarded. */
static ssize_t receive_from_kernel(int fd, void *buffer, size_t size)
{
	for (;;) {
		struct sockaddr_nl sender = { 0 };
		struct iovec space = { buffer, size };
		struct msghdr message = { .msg_name = &sender,
					  .msg_namelen = sizeof(sender),
					  .msg_iov = &space,
					  .msg_iovlen = 1 };
		ssize_t got = recvmsg(fd, &message, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (message.msg_flags & MSG_TRUNC)
			return -EMSGSIZE;
		if (sender.nl_pid == 0)
			return got;
	}
}

/**
 * netlink_receive() - receive one datagram of notifications
 * @buffer:	receives whole messages; 64 KB suffice
 *
 * #syscalls recvmsg
 * Return: bytes; -EAGAIN none waits; -ENOBUFS notifications were lost; -EMSGSIZE the datagram was
 * longer than the buffer and is lost; else a negative errno.
 */
int64_t netlink_receive(int fd, uint8_t *buffer, size_t size)
{
	return receive_from_kernel(fd, buffer, size);
}

/* Counts the messages; 0: the lengths do not add up. */
static size_t count_messages(const uint8_t *bytes, size_t len)
{
	size_t count = 0;

	for (size_t at = 0; at < len; count++) {
		struct nlmsghdr head;

		if (len - at < sizeof(head))
			return 0;
		memcpy(&head, bytes + at, sizeof(head));
		if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > len - at)
			return 0;
		at += NLMSG_ALIGN(head.nlmsg_len);
		if (at > len)
			at = len;
	}
	return count;
}

/* Counts the messages that end the answer of a request: acknowledgements and ends of dumps. */
static size_t count_ends(const uint8_t *bytes, size_t len)
{
	size_t ends = 0;

	for (size_t at = 0; len - at >= sizeof(struct nlmsghdr) && at < len;) {
		struct nlmsghdr head;

		memcpy(&head, bytes + at, sizeof(head));
		if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > len - at)
			break;
		ends += head.nlmsg_type == NLMSG_ERROR || head.nlmsg_type == NLMSG_DONE;
		if (NLMSG_ALIGN(head.nlmsg_len) > len - at)
			break;
		at += NLMSG_ALIGN(head.nlmsg_len);
	}
	return ends;
}

static int make_space(struct netlink_answer *answer, size_t *capacity)
{
	size_t wanted = answer->len + RECEIVE_SPACE;
	uint8_t *data;

	if (wanted <= *capacity)
		return 0;
	if (wanted > ANSWER_MAX)
		return -EOVERFLOW;
	wanted = wanted < 2 * *capacity ? 2 * *capacity : wanted;
	data = realloc(answer->data, wanted);
	if (!data)
		return -ENOMEM;
	answer->data = data;
	*capacity = wanted;
	return 0;
}

static int receive_answer(int fd, size_t wanted, struct netlink_answer *answer)
{
	size_t capacity = 0, ends = 0;

	while (ends < wanted) {
		int err = make_space(answer, &capacity);
		ssize_t got = err ? err : receive_from_kernel(fd, answer->data + answer->len, RECEIVE_SPACE);

		if (got < 0)
			return (int)got;
		ends += count_ends(answer->data + answer->len, (size_t)got);
		answer->len += (size_t)got;
	}
	return 0;
}

/**
 * netlink_request() - send requests and receive their answers; blocks
 * @messages:	requests, each with NLM_F_ACK or NLM_F_DUMP; the kernel executes them in order, and
 *		continues after one that fails. A dump is sent alone
 * @answer:	filled on success; the caller frees its data
 *
 * Errors of requests are messages of the answer (NLMSG_ERROR), with the kernel's words
 * (NLMSGERR_ATTR_MSG).
 *
 * #syscalls socket bind setsockopt sendto recvmsg close
 * Return: 0; -EINVAL malformed messages; -EAGAIN no answer within 10 s; else a negative errno.
 */
int netlink_request(int protocol, const uint8_t *messages, size_t len, struct netlink_answer *answer)
{
	static const struct timeval timeout = { .tv_sec = TIMEOUT_S };
	size_t count = count_messages(messages, len);
	int fd, err;

	*answer = (struct netlink_answer){ 0 };
	if (!count)
		return -EINVAL;
	fd = open_socket(protocol, 0);
	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	/* Older kernels lack these options; errors then have no words, and dumps are not filtered. */
	set(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
	set(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
	set(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
	err = send(fd, messages, len, 0) < 0 ? -errno : receive_answer(fd, count, answer);
	close(fd);
	if (err) {
		free(answer->data);
		*answer = (struct netlink_answer){ 0 };
	}
	return err;
}
