/* SPDX-License-Identifier: MIT
 *
 * UDP sockets: the underlay side, IPv4 and IPv6 alike. Opening, receiving, and what a socket says of
 * drops; sending is in send.c, error queues are read in path_errors.c.
 *
 * One socket a family receives, bound to the VXLAN port, as many datagrams by one recvmmsg as there are
 * slots. Sending goes through a pool of sockets, each bound to a source port of its own: the port carries
 * the entropy of the inner flow (RFC 7348 §5), and no socket option changes it from datagram to datagram.
 *
 * A datagram may be a train. UDP_GRO hands over what the device or the sender joined, with the segment
 * size in a control message; the gso_size column repeats it and TypeScript cuts. Another says the outer TOS, which
 * all of a train have (requirements/gro_tos.c).
 */
#include "address.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/if.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef UDP_NO_CHECK6_TX
#define UDP_NO_CHECK6_TX 101
#define UDP_NO_CHECK6_RX 102
#endif

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

/* Beyond net.core.[rw]mem_max with CAP_NET_ADMIN, up to it without. */
static int set_buffer(int fd, int force_name, int name, int len)
{
	if (len <= 0 || !set_option(fd, SOL_SOCKET, force_name, len))
		return 0;
	return set_option(fd, SOL_SOCKET, name, len);
}

static int set_receive_options(int fd, int ipv6, int options)
{
	int err = 0;

	if (ipv6)
		err = set_option(fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, 1);
	if (!err)
		err = ipv6 ? set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) :
			     set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
	if (err || options & UDP_OPEN_NO_GRO)
		return err;
	return set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
}

static int set_ip_options(int fd, int ipv6, int options, int ttl)
{
	int level = ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;
	int df = options & UDP_OPEN_DF;
	int err;

	if (ipv6) {
		err = set_option(fd, level, IPV6_V6ONLY, 1);
		if (!err)
			err = set_option(fd, level, IPV6_MTU_DISCOVER, df ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_DONT);
	} else {
		err = set_option(fd, level, IP_MTU_DISCOVER, df ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT);
	}
	if (!err && ttl > 0)
		err = set_option(fd, level, ipv6 ? IPV6_UNICAST_HOPS : IP_TTL, ttl);
	if (!err && options & UDP_OPEN_RECVERR)
		err = set_option(fd, level, ipv6 ? IPV6_RECVERR : IP_RECVERR, 1);
	if (!err && options & UDP_OPEN_NO_CHECKSUM)
		err = ipv6 ? set_option(fd, IPPROTO_UDP, UDP_NO_CHECK6_TX, 1) :
			     set_option(fd, SOL_SOCKET, SO_NO_CHECK, 1);
	return err;
}

/* The kernel would cut a longer name down to another device's. */
static int bind_device(int fd, const char *device)
{
	size_t len = strlen(device);

	if (len == 0)
		return 0;
	if (len >= IFNAMSIZ)
		return -ENODEV;
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)len) ? -errno : 0;
}

/**
 * udp_open() - a bound socket: non-blocking, close-on-exec, of one family only
 * @local:	address and port to bind; an address of zeros is any, port 0 lets the kernel choose
 * @device:	bind to this device; "" none
 * @options:	UDP_OPEN_*
 * @receive_len: receive buffer, bytes as for SO_RCVBUF (the kernel books twice that); 0: its default
 * @send_len:	send buffer likewise
 * @ttl:	TTL or hop limit, 1 … 255; 0: the system's
 *
 * No SO_REUSEADDR: a second daemon would share the port without either noticing. Nor would SO_REUSEPORT
 * tell, so the first socket of a group is bound without it, which fails when anybody has the port, sharing
 * or not, and gets it afterwards (requirements/reuseport_group.c). The kernel then spreads datagrams over
 * the group by their addresses and ports.
 *
 * #syscalls socket setsockopt bind close
 * Return: fd; -EAFNOSUPPORT a family that is neither, or one that this machine lacks; -EADDRINUSE,
 * -EADDRNOTAVAIL, -EACCES as bind(2); -ENODEV no such device; -EPERM it takes CAP_NET_RAW; -ENOPROTOOPT the
 * kernel lacks UDP_GRO (before Linux 5.0) or, with UDP_OPEN_TRAINS, UDP_SEGMENT (before 4.18).
 */
int udp_open(const struct peer_row *local, const char *device, int options, int receive_len, int send_len, int ttl)
{
	union address address;
	socklen_t address_len = unpack_address(&address, local);
	int ipv6 = local->family == AF_INET6;
	int fd, err;

	if (!address_len)
		return -EAFNOSUPPORT;
	fd = socket(local->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = set_ip_options(fd, ipv6, options, ttl);
	if (!err && options & UDP_OPEN_RECEIVE)
		err = set_receive_options(fd, ipv6, options);
	/* 0 is what it is already: each train names its size itself. */
	if (!err && options & UDP_OPEN_TRAINS)
		err = set_option(fd, IPPROTO_UDP, UDP_SEGMENT, 0);
	if (!err)
		err = set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, receive_len);
	if (!err)
		err = set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, send_len);
	if (!err)
		err = bind_device(fd, device);
	if (!err && options & UDP_OPEN_JOIN)
		err = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!err && bind(fd, &address.any, address_len))
		err = -errno;
	if (!err && options & UDP_OPEN_SHARE)
		err = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/**
 * udp_set_gro() - receive trains whole (UDP_GRO), or have the kernel cut them up
 *
 * #syscalls setsockopt
 * Return: 0; -ENOPROTOOPT before Linux 5.0.
 */
int udp_set_gro(int fd, int on)
{
	return set_option(fd, IPPROTO_UDP, UDP_GRO, on);
}

/**
 * udp_select() - have a program choose which socket of a group gets a datagram
 * @fd:		one of a SO_REUSEPORT group of at least two; the program is the group's, and replaces the one before
 * @program:	classic BPF, struct sock_filter in host byte order. It answers the place of a socket in the order in
 *		which they were bound; a place that does not exist means any. requirements/reuseport_program.c
 * @len:	bytes, a multiple of 8
 *
 * Takes no capability.
 *
 * #syscalls setsockopt
 * Return: 0; -EINVAL no group, or no program; -E2BIG more than 4,096 instructions.
 */
int udp_select(int fd, const uint8_t *program, size_t len)
{
	struct sock_fprog fprog = { .filter = (struct sock_filter *)program };
	size_t count = len / sizeof(struct sock_filter);

	if (count > BPF_MAXINSNS)
		return -E2BIG;
	fprog.len = (unsigned short)count;
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &fprog, sizeof(fprog)) ? -errno : 0;
}

/*
 * UDP_GRO (int) and IP_TOS (one byte) or IPV6_TCLASS (int), aligned as the CMSG macros expect. There is room for twice as
 * many again: a datagram whose messages do not fit is dropped (MSG_CTRUNC).
 */
union control {
	struct cmsghdr align;
	uint8_t bytes[6 * CMSG_SPACE(sizeof(int))];
};

/* The truncated part may hold the segment size; without it a train would pass for one datagram. */
#define INCOMPLETE (MSG_TRUNC | MSG_CTRUNC)

struct inbox {
	struct mmsghdr messages[BATCH_CAP];
	struct iovec iov[BATCH_CAP];
	union address addresses[BATCH_CAP];
	union control controls[BATCH_CAP];
};

/* Sets segment size and TOS of entry i: 0 without a control message. */
static void read_control(struct msghdr *header, struct batch *batch, int32_t i)
{
	batch->gso_size[i] = 0;
	batch->tos[i] = 0;
	/* The last one may be there in part. */
	if (header->msg_flags & MSG_CTRUNC)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			batch->tos[i] = *CMSG_DATA(c);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
			memcpy(&batch->tos[i], CMSG_DATA(c), sizeof(int));
		else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&batch->gso_size[i], CMSG_DATA(c), sizeof(int));
	}
}

static void offer_slot(struct inbox *inbox, int32_t k, uint8_t *slot, size_t len)
{
	inbox->iov[k] = (struct iovec){ slot, len };
	inbox->messages[k].msg_hdr = (struct msghdr){
		.msg_name = &inbox->addresses[k],
		.msg_namelen = sizeof(inbox->addresses[k]),
		.msg_iov = &inbox->iov[k],
		.msg_iovlen = 1,
		.msg_control = &inbox->controls[k],
		.msg_controllen = sizeof(inbox->controls[k]),
	};
}

/**
 * udp_receive_batch() - receive the datagrams that wait on a socket
 * @sources:	BATCH_CAP rows; row i has the source of datagram i
 * @slots:	slots of the arena; the caller has checked that they lie in it, and that there are at most BATCH_CAP
 *
 * gso_size is that of a train's datagrams; over veth it may be the inner segment size of one
 * superframe. TypeScript decides between the two.
 *
 * A datagram longer than its slot gets len 0: no VXLAN header has room in that. So does one whose control messages
 * were truncated: without its segment size a train would be read as one frame.
 *
 * #syscalls recvmmsg
 * Return: datagrams, 0 when none waits, or a negative errno.
 */
int udp_receive_batch(int fd, struct arena arena, struct batch *batch, struct peer_row *sources,
		      struct udp_slots slots)
{
	struct inbox inbox;
	int count;

	for (int32_t k = 0; k < slots.count; k++)
		offer_slot(&inbox, k, arena.base + (size_t)k * slots.stride, (size_t)slots.stride);
	count = recvmmsg(fd, inbox.messages, (unsigned int)slots.count, MSG_DONTWAIT, NULL);
	if (count < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (int32_t k = 0; k < count; k++) {
		struct mmsghdr *message = &inbox.messages[k];

		batch->off[k] = k * slots.stride;
		batch->len[k] = message->msg_hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? 0 : (int32_t)message->msg_len;
		read_control(&message->msg_hdr, batch, k);
		batch->seg_count[k] = 1;
		pack_address(&sources[k], &inbox.addresses[k]);
	}
	return count;
}

/**
 * udp_port() - the port that a socket is bound to
 *
 * #syscalls getsockname
 * Return: the port or a negative errno.
 */
int udp_port(int fd)
{
	union address address;
	socklen_t len = sizeof(address);

	if (getsockname(fd, &address.any, &len))
		return -errno;
	return ntohs(address.ipv4.sin_port); /* at the same place in sockaddr_in6 */
}

/**
 * udp_drops() - datagrams dropped because the receive buffer was full, or for their checksum
 *
 * Counts from the socket's birth, modulo 2^32.
 *
 * #syscalls getsockopt
 * Return: the count or a negative errno.
 */
int64_t udp_drops(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len))
		return -errno;
	return info[SK_MEMINFO_DROPS];
}
