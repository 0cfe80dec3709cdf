/* SPDX-License-Identifier: MIT
 *
 * UDP sockets of the underlay, IPv4 and IPv6: opening, receiving and drop counts.
 *
 * Sending is in send.c; path_errors.c reads the error queues.
 *
 * A receiving socket is bound to the VXLAN port; one recvmmsg fills up to all offered slots.
 * Sending uses a pool of sockets, each bound to its own source port: the port carries the entropy
 * of the inner flow (RFC 7348 §5), and no socket option sets the source port of a single datagram.
 *
 * A received datagram can be a train. With UDP_GRO, one read returns all datagrams of a train,
 * which the device or the sender has joined. A control message holds the segment size; it is stored
 * in the gso_size column, and TypeScript splits the train. Another control message holds the outer
 * TOS, which is common to all datagrams of a train (requirements/gro_tos.c), and a third one the
 * device by which the datagram arrived, so that TypeScript can refuse VXLAN from the overlay itself.
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
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif
#ifndef UDP_NO_CHECK6_TX
#define UDP_NO_CHECK6_TX 101
#define UDP_NO_CHECK6_RX 102
#endif

/* RFC 5014; defined by linux/in6.h, which netinet/in.h excludes */
#define IPV6_ADDR_PREFERENCES 72
#define IPV6_PREFER_SRC_PUBLIC 2

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

/* Sets a buffer's size. net.core.[rw]mem_max limits the size only without CAP_NET_ADMIN. */
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
	if (!err)
		err = ipv6 ? set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) :
			     set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
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
		/* Peers know a host by an address that stays; a temporary one (RFC 8981) expires. */
		if (!err)
			err = set_option(fd, level, IPV6_ADDR_PREFERENCES, IPV6_PREFER_SRC_PUBLIC);
		if (!err)
			err = set_option(fd, level, IPV6_MTU_DISCOVER, df ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_DONT);
	} else {
		err = set_option(fd, level, IP_MTU_DISCOVER, df ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT);
	}
	if (!err && ttl > 0)
		err = set_option(fd, level, ipv6 ? IPV6_UNICAST_HOPS : IP_TTL, ttl);
	if (!err && options & UDP_OPEN_FREEBIND)
		err = ipv6 ? set_option(fd, level, IPV6_FREEBIND, 1) : set_option(fd, level, IP_FREEBIND, 1);
	if (!err && options & UDP_OPEN_RECVERR)
		err = set_option(fd, level, ipv6 ? IPV6_RECVERR : IP_RECVERR, 1);
	if (!err && options & UDP_OPEN_NO_CHECKSUM)
		err = ipv6 ? set_option(fd, IPPROTO_UDP, UDP_NO_CHECK6_TX, 1) :
			     set_option(fd, SOL_SOCKET, SO_NO_CHECK, 1);
	return err;
}

/* The kernel would truncate a longer name, possibly to the name of another device. */
static int bind_device(int fd, const char *device)
{
	size_t len = strlen(device);

	if (len == 0)
		return 0;
	if (len >= IFNAMSIZ)
		return -ENODEV;
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)len) ? -errno : 0;
}

/* Attaches a filter that drops every datagram; the socket counts each as dropped. */
static int close_reception(int fd)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = { .len = 1, .filter = &drop };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

/**
 * udp_open() - open a bound socket of one family: non-blocking, close-on-exec
 * @local:	address and port to bind; an all-zero address means any, port 0 lets the kernel
 *		choose
 * @device:	device to bind to; "" none
 * @options:	UDP_OPEN_*
 * @receive_len: receive buffer, bytes as for SO_RCVBUF (the kernel accounts twice that); 0: default
 * @send_len:	send buffer, bytes as for SO_SNDBUF; 0: default
 * @ttl:	TTL or hop limit, 1 … 255; 0: system default
 *
 * SO_REUSEADDR is not set, because a second daemon would share the port unnoticed. The same would
 * happen if every socket had SO_REUSEPORT before bind(2). Therefore the first socket of a group is
 * bound without SO_REUSEPORT, which fails if any other socket is bound to the port; the option is
 * set afterwards (requirements/reuseport_group.c). The kernel then distributes datagrams over the
 * group by addresses and ports.
 *
 * With UDP_OPEN_CLOSED a filter drops every datagram until udp_admit(). The port is in use all the
 * same, so no ICMP error answers the sender.
 *
 * With UDP_OPEN_FREEBIND the address need not exist. IPv4 then refuses to send (-ENETUNREACH) until
 * it exists, but IPv6 sends all the same: the caller has to wait.
 *
 * #syscalls socket setsockopt bind close
 * Return: fd; -EAFNOSUPPORT an unknown family or one that this machine lacks; -EADDRINUSE,
 * -EADDRNOTAVAIL, -EACCES as bind(2); -ENODEV no such device; -EPERM without CAP_NET_RAW;
 * -ENOPROTOOPT the kernel lacks UDP_GRO (before Linux 5.0) or, with UDP_OPEN_TRAINS, UDP_SEGMENT
 * (before 4.18).
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
	/* Only a test for support: 0 is the default, and each train sets its own size. */
	if (!err && options & UDP_OPEN_TRAINS)
		err = set_option(fd, IPPROTO_UDP, UDP_SEGMENT, 0);
	if (!err)
		err = set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, receive_len);
	if (!err)
		err = set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, send_len);
	if (!err)
		err = bind_device(fd, device);
	if (!err && options & UDP_OPEN_CLOSED)
		err = close_reception(fd);
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
 * udp_bind_device() - bind an open socket to a device again
 * @device:	name; the device that the socket was bound to possibly no longer exists
 *
 * The socket keeps the index of its device. When the device is deleted and made again, the new one
 * has another index.
 *
 * #syscalls setsockopt
 * Return: 0; -ENODEV no such device; -EPERM without CAP_NET_RAW.
 */
int udp_bind_device(int fd, const char *device)
{
	return bind_device(fd, device);
}

/**
 * udp_admit() - receive datagrams on a socket opened with UDP_OPEN_CLOSED
 *
 * #syscalls setsockopt
 * Return: 0; -ENOENT the socket is not closed.
 */
int udp_admit(int fd)
{
	return set_option(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
}

/**
 * udp_set_mark() - set the mark of everything that a socket sends, for policy routing (SO_MARK)
 * @mark:	0: no mark
 *
 * #syscalls setsockopt
 * Return: 0; -EPERM without CAP_NET_ADMIN and CAP_NET_RAW.
 */
int udp_set_mark(int fd, uint32_t mark)
{
	return set_option(fd, SOL_SOCKET, SO_MARK, (int)mark);
}

/**
 * udp_source() - get the source address that an unbound socket of udp_open() uses toward a peer
 * @peer:	address and port
 * @device:	device that the socket is bound to; "" none
 * @mark:	mark of the socket; 0: none
 * @source:	receives the address, with the port 0
 *
 * Sends nothing.
 *
 * #syscalls socket setsockopt bind connect getsockname close
 * Return: 0; -ENETUNREACH, -EHOSTUNREACH, -EADDRNOTAVAIL, -EACCES as connect(2); else as udp_open().
 */
int udp_source(const struct peer_row *peer, const char *device, uint32_t mark, struct peer_row *source)
{
	struct peer_row any = { .family = peer->family };
	union address to, from;
	socklen_t to_len = unpack_address(&to, peer), from_len = sizeof(from);
	int fd = to_len ? udp_open(&any, device, 0, 0, 0, 0) : -EAFNOSUPPORT;
	int err;

	if (fd < 0)
		return fd;
	err = mark ? udp_set_mark(fd, mark) : 0;
	if (!err && (connect(fd, &to.any, to_len) || getsockname(fd, &from.any, &from_len)))
		err = -errno;
	close(fd);
	if (err)
		return err;
	pack_address(source, &from);
	source->port = 0;
	return 0;
}

/**
 * udp_set_gro() - receive trains whole (UDP_GRO) or split by the kernel
 *
 * #syscalls setsockopt
 * Return: 0; -ENOPROTOOPT before Linux 5.0.
 */
int udp_set_gro(int fd, int on)
{
	return set_option(fd, IPPROTO_UDP, UDP_GRO, on);
}

/**
 * udp_select() - attach a program that selects the receiving socket of a group
 * @fd:		a socket of a SO_REUSEPORT group of at least two. The program applies to the group
 *		and replaces the previous one
 * @program:	classic BPF, struct sock_filter in host byte order. It returns the index of a socket
 *		in bind order; an invalid index selects any socket
 *		(requirements/reuseport_program.c)
 * @len:	bytes, a multiple of 8
 *
 * Requires no capability.
 *
 * #syscalls setsockopt
 * Return: 0; -EINVAL not a group, or an invalid program; -E2BIG more than 4,096 instructions.
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
 * Control messages of one datagram: UDP_GRO (int), IP_TOS (one byte) or IPV6_TCLASS (int), and
 * IP_PKTINFO or the larger IPV6_PKTINFO, aligned as required by the CMSG macros. There is space for
 * two more, because a datagram whose control messages do not fit is dropped (MSG_CTRUNC).
 */
union control {
	struct cmsghdr align;
	uint8_t bytes[4 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/*
 * The truncated part possibly contains the segment size, without which a train would be read as one
 * datagram.
 */
#define INCOMPLETE (MSG_TRUNC | MSG_CTRUNC)

struct inbox {
	struct mmsghdr messages[BATCH_CAP];
	struct iovec iov[BATCH_CAP];
	union address addresses[BATCH_CAP];
	union control controls[BATCH_CAP];
};

/* Sets segment size, TOS and arrival device of entry i; 0 without a control message. */
static void read_control(struct msghdr *header, struct batch *batch, int32_t i)
{
	batch->gso_size[i] = 0;
	batch->tos[i] = 0;
	batch->ifindex[i] = 0;
	/* The last control message may be incomplete. */
	if (header->msg_flags & MSG_CTRUNC)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			batch->tos[i] = *CMSG_DATA(c);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
			memcpy(&batch->tos[i], CMSG_DATA(c), sizeof(int));
		else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&batch->gso_size[i], CMSG_DATA(c), sizeof(int));
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			memcpy(&batch->ifindex[i], CMSG_DATA(c) + offsetof(struct in_pktinfo, ipi_ifindex), sizeof(int));
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			memcpy(&batch->ifindex[i], CMSG_DATA(c) + offsetof(struct in6_pktinfo, ipi6_ifindex), sizeof(int));
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
 * udp_receive_batch() - receive the datagrams waiting on a socket
 * @sources:	BATCH_CAP rows; row i receives the source of datagram i
 * @slots:	slots of the arena; the caller has checked that they lie in it and that there are at
 *		most BATCH_CAP
 *
 * gso_size is the length of the datagrams of a train. Over veth it can instead be the inner segment
 * size of one superframe. TypeScript distinguishes the two cases.
 *
 * A datagram longer than its slot gets len 0, which is too short for a VXLAN header. A datagram
 * with truncated control messages gets len 0 too, because without its segment size a train would be
 * read as one frame.
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
		batch->len[k] = message->msg_hdr.msg_flags & INCOMPLETE ? 0 : (int32_t)message->msg_len;
		read_control(&message->msg_hdr, batch, k);
		batch->seg_count[k] = 1;
		pack_address(&sources[k], &inbox.addresses[k]);
	}
	return count;
}

/**
 * udp_port() - get the local port of a socket
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
	return ntohs(address.ipv4.sin_port); /* at the same offset in sockaddr_in6 */
}

/**
 * udp_drops() - count datagrams dropped: full receive buffer, bad checksum, UDP_OPEN_CLOSED
 *
 * Counts from the creation of the socket, modulo 2^32.
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
