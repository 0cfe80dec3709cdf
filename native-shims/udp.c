/* SPDX-License-Identifier: MIT
 *
 * UDP sockets: the underlay side, IPv4 and IPv6 alike.
 *
 * One socket a family receives, bound to the VXLAN port. Sending goes through a pool of sockets, each
 * bound to a source port of its own: the port carries the entropy of the inner flow (RFC 7348 §5), and
 * a socket option can't change it from datagram to datagram. The receiver gets as many datagrams as it
 * has slots for by one recvmmsg; the sender groups neighbours on one socket into one sendmmsg.
 *
 * A datagram may be a train. UDP_GRO hands over what the device or the sender joined, with the segment
 * size in a control message; the gso_size column repeats it and TypeScript cuts.
 *
 * Errors. A socket with IP_RECVERR keeps what ICMP said of any of its datagrams, and fails its next
 * send with it, whoever that one is for. So a failed send proves nothing about its own peer until the
 * error queue is drained and the same datagram has failed again. EAGAIN and ENOBUFS are about the
 * socket's own buffer: a second attempt would not find it emptier.
 */
#include "shim.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_NO_CHECK6_TX
#define UDP_NO_CHECK6_TX 101
#define UDP_NO_CHECK6_RX 102
#endif

/* Messages drained from an error queue at once. The pool's tiny receive buffers hold fewer. */
#define DRAIN_MAX 256

/* Bytes of a whole train: it crosses the stack as one IPv4 packet. */
#define TRAIN_LEN_MAX 65507

union segment_control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(uint16_t))];
};

union address {
	struct sockaddr any;
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;
};

/* Unpacks a row. Returns the length of the address, 0 for a family that is neither. */
static socklen_t unpack_address(union address *address, const struct peer_row *row)
{
	memset(address, 0, sizeof(*address));
	if (row->family == AF_INET) {
		address->ipv4.sin_family = AF_INET;
		address->ipv4.sin_port = htons(row->port);
		memcpy(&address->ipv4.sin_addr, row->addr, sizeof(address->ipv4.sin_addr));
		return sizeof(address->ipv4);
	}
	if (row->family == AF_INET6) {
		address->ipv6.sin6_family = AF_INET6;
		address->ipv6.sin6_port = htons(row->port);
		memcpy(&address->ipv6.sin6_addr, row->addr, sizeof(address->ipv6.sin6_addr));
		address->ipv6.sin6_scope_id = row->scope_id;
		return sizeof(address->ipv6);
	}
	return 0;
}

/* The reverse. vni_idx and flags of the row are TypeScript's and stay. */
static void pack_address(struct peer_row *row, const union address *address)
{
	row->family = address->any.sa_family;
	memset(row->addr, 0, sizeof(row->addr));
	row->scope_id = 0;
	if (row->family == AF_INET6) {
		row->port = ntohs(address->ipv6.sin6_port);
		memcpy(row->addr, &address->ipv6.sin6_addr, sizeof(address->ipv6.sin6_addr));
		row->scope_id = address->ipv6.sin6_scope_id;
	} else {
		row->port = ntohs(address->ipv4.sin_port);
		memcpy(row->addr, &address->ipv4.sin_addr, sizeof(address->ipv4.sin_addr));
	}
}

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
	int err = set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);

	if (!err && ipv6)
		err = set_option(fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, 1);
	if (err || options & UDP_OPEN_NO_GRO)
		return err;
	err = set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
	return err == -ENOPROTOOPT ? 0 : err; /* before Linux 5.0: datagrams come one by one */
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
 * No SO_REUSEADDR or SO_REUSEPORT: a second daemon would share the port without either noticing.
 *
 * #syscalls socket setsockopt bind close
 * Return: fd; -EAFNOSUPPORT a family that is neither, or one that this machine lacks; -EADDRINUSE,
 * -EADDRNOTAVAIL, -EACCES as bind(2); -ENODEV no such device; -EPERM it takes CAP_NET_RAW.
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
	if (!err)
		err = set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, receive_len);
	if (!err)
		err = set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, send_len);
	if (!err)
		err = bind_device(fd, device);
	if (!err && bind(fd, &address.any, address_len))
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* Two messages, UDP_GRO (int) and SO_RXQ_OVFL (u32), aligned as the CMSG macros expect. */
union control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t))];
};

struct inbox {
	struct mmsghdr messages[BATCH_CAP];
	struct iovec iov[BATCH_CAP];
	union address addresses[BATCH_CAP];
	union control controls[BATCH_CAP];
};

/* Returns the segment size, 0 when there is none, and updates *drops if the kernel said. */
static int32_t read_control(struct msghdr *header, uint32_t *drops)
{
	int32_t gso_size = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&gso_size, CMSG_DATA(c), sizeof(gso_size));
		else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
			memcpy(drops, CMSG_DATA(c), sizeof(*drops));
	}
	return gso_size;
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
 * udp_receive_batch() - take what waits on a socket
 * @sources:	BATCH_CAP rows; row i tells where datagram i came from
 * @start:	first descriptor to fill
 * @slots:	where in the arena; the caller has checked that they lie there and that start + count
 *		is at most BATCH_CAP
 * @drops:	set to the socket's count of dropped datagrams if the kernel sent it along
 *
 * A datagram longer than its slot gets len 0: no VXLAN header has room in that.
 *
 * #syscalls recvmmsg
 * Return: datagrams, 0 when none waits, or a negative errno.
 */
int udp_receive_batch(int fd, struct arena arena, struct batch *batch, struct peer_row *sources, int32_t start,
		      struct udp_slots slots, uint32_t *drops)
{
	struct inbox inbox;
	int count;

	for (int32_t k = 0; k < slots.count; k++)
		offer_slot(&inbox, k, arena.base + slots.off + (size_t)k * slots.stride, (size_t)slots.stride);
	count = recvmmsg(fd, inbox.messages, (unsigned int)slots.count, MSG_DONTWAIT, NULL);
	if (count < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (int32_t k = 0; k < count; k++) {
		struct mmsghdr *message = &inbox.messages[k];
		int32_t i = start + k;

		batch->off[i] = slots.off + k * slots.stride;
		batch->len[i] = message->msg_hdr.msg_flags & MSG_TRUNC ? 0 : (int32_t)message->msg_len;
		batch->gso_size[i] = read_control(&message->msg_hdr, drops);
		batch->seg_count[i] = 1;
		pack_address(&sources[i], &inbox.addresses[k]);
	}
	return count;
}

/*
 * Neighbouring entries of a batch that leave through one socket. A message is one datagram or a train: neighbours
 * of one size for one peer, only the last of which may be shorter. A train crosses the stack as one buffer, and
 * UDP_SEGMENT cuts it as late as possible; the payload is gathered where it lies.
 *
 * @count:	entries; entries[k] is the descriptor of entry k, iov[k] its bytes
 * @message_count: messages; message m begins with entry first[m]
 * @peer_idx:	of the last message
 */
struct outbox {
	int fd;
	int32_t train_max;
	int32_t count;
	int32_t message_count;
	int32_t peer_idx;
	struct mmsghdr messages[BATCH_CAP];
	struct iovec iov[BATCH_CAP];
	union address addresses[BATCH_CAP];
	union segment_control controls[BATCH_CAP];
	int32_t first[BATCH_CAP];
	int32_t entries[BATCH_CAP];
};

/* Errors that say the socket's own buffer is full. */
static int is_congestion(int err)
{
	return err == -EAGAIN || err == -ENOBUFS || err == -ENOMEM;
}

/*
 * Errors that may be about the train and not about its datagrams: one larger than the path carries, which alone
 * would be fragmented; no UDP checksum; a device that can't sum.
 */
static int is_of_train(int err)
{
	return err == -EMSGSIZE || err == -EINVAL || err == -EIO;
}

static int send_again(int fd, const struct msghdr *header)
{
	udp_drain_errors(fd);
	return sendmsg(fd, header, MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* The datagrams of a refused train, one by one. Returns how many failed. */
static int send_apart(struct outbox *box, const struct msghdr *train, int32_t entry, struct batch *batch)
{
	struct msghdr header = { .msg_name = train->msg_name, .msg_namelen = train->msg_namelen, .msg_iovlen = 1 };
	int failed = 0;

	for (size_t k = 0; k < train->msg_iovlen; k++) {
		int err;

		header.msg_iov = &train->msg_iov[k];
		err = sendmsg(box->fd, &header, MSG_DONTWAIT) < 0 ? -errno : 0;
		if (err && !is_congestion(err))
			err = send_again(box->fd, &header);
		batch->status[box->entries[entry + (int32_t)k]] = err;
		failed += err != 0;
	}
	return failed;
}

/* A message that sendmmsg refused with err. Returns how many of its entries failed. */
static int send_refused(struct outbox *box, int32_t m, int err, struct batch *batch)
{
	const struct msghdr *header = &box->messages[m].msg_hdr;

	if (!is_congestion(err) && !(header->msg_iovlen > 1 && is_of_train(err)))
		err = send_again(box->fd, header);
	if (header->msg_iovlen > 1 && is_of_train(err))
		return send_apart(box, header, box->first[m], batch);
	for (size_t k = 0; k < header->msg_iovlen; k++)
		batch->status[box->entries[box->first[m] + (int32_t)k]] = err;
	return err ? (int)header->msg_iovlen : 0;
}

/* Sends all of it and empties the box. Returns how many entries failed. */
static int send_outbox(struct outbox *box, struct batch *batch)
{
	int32_t done = 0;
	int failed = 0;

	while (done < box->message_count) {
		int sent = sendmmsg(box->fd, box->messages + done, (unsigned int)(box->message_count - done),
				    MSG_DONTWAIT);

		if (sent > 0)
			done += sent;
		else
			failed += send_refused(box, done++, -errno, batch);
	}
	box->count = 0;
	box->message_count = 0;
	return failed;
}

/* What the columns of an entry come to: the bytes, where they go and through which socket. */
struct outgoing {
	int fd;
	int32_t peer_idx;
	struct iovec iov;
	union address address;
	socklen_t address_len;
};

/* Checks and resolves entry i. 0, or why it can't be sent. */
static int resolve_entry(struct outgoing *out, const int32_t *fds, const struct peer_row *peers, size_t peer_count,
			 struct arena arena, const struct batch *batch, int32_t i)
{
	int32_t off = batch->off[i], len = batch->len[i];
	int32_t peer_idx = batch->peer_idx[i], src_port_idx = batch->src_port_idx[i];

	if (!arena_holds(arena, off, len))
		return -EFAULT;
	if (peer_idx < 0 || (size_t)peer_idx >= peer_count || src_port_idx < 0 || src_port_idx >= SOURCE_SOCKETS)
		return -EINVAL;
	out->address_len = unpack_address(&out->address, &peers[peer_idx]);
	if (!out->address_len)
		return -EINVAL;
	out->fd = fds[(out->address.any.sa_family == AF_INET6 ? SOURCE_SOCKETS : 0) + src_port_idx];
	if (out->fd < 0)
		return -EAFNOSUPPORT;
	out->peer_idx = peer_idx;
	out->iov = (struct iovec){ arena.base + off, (size_t)len };
	return 0;
}

/* May it become the next datagram of the last message? An empty one has no place in a sum of bytes. */
static int joins_train(const struct outbox *box, const struct outgoing *out)
{
	int32_t first, segments;
	size_t size;

	if (!box->message_count || box->peer_idx != out->peer_idx || !out->iov.iov_len)
		return 0;
	first = box->first[box->message_count - 1];
	segments = box->count - first;
	size = box->iov[first].iov_len;
	return size > 0 && segments < box->train_max && box->iov[box->count - 1].iov_len == size && out->iov.iov_len <= size &&
	       (size_t)segments * size + out->iov.iov_len <= TRAIN_LEN_MAX;
}

static void extend_train(struct outbox *box)
{
	int32_t m = box->message_count - 1;
	struct msghdr *header = &box->messages[m].msg_hdr;
	struct cmsghdr *control = &box->controls[m].header;
	uint16_t size = (uint16_t)header->msg_iov->iov_len;

	header->msg_iovlen++;
	header->msg_control = control;
	header->msg_controllen = CMSG_LEN(sizeof(size));
	*control = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(size)), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT };
	memcpy(CMSG_DATA(control), &size, sizeof(size));
}

static void begin_message(struct outbox *box, const struct outgoing *out)
{
	int32_t m = box->message_count++;

	box->first[m] = box->count;
	box->peer_idx = out->peer_idx;
	box->addresses[m] = out->address;
	box->messages[m].msg_hdr = (struct msghdr){
		.msg_name = &box->addresses[m],
		.msg_namelen = out->address_len,
		.msg_iov = &box->iov[box->count],
		.msg_iovlen = 1,
	};
}

static void append_entry(struct outbox *box, const struct outgoing *out, int32_t i)
{
	box->fd = out->fd;
	if (joins_train(box, out))
		extend_train(box);
	else
		begin_message(box, out);
	box->entries[box->count] = i;
	box->iov[box->count] = out->iov;
	box->count++;
}

/**
 * udp_send_batch() - send the entries whose verdict is 0, in order
 * @fds:	2 * SOURCE_SOCKETS sockets, IPv4 first, by src_port_idx; -1 none
 * @peers:	rows by peer_idx
 * @train_max:	datagrams in one UDP_SEGMENT train, at most; 1: no trains
 *
 * status: 0 sent (or skipped); -EFAULT outside the arena; -EINVAL no such peer, an empty row or no such
 * socket index; -EAFNOSUPPORT no socket of that family; else what sendmsg says of this datagram.
 *
 * #syscalls sendmmsg sendmsg recvmsg getsockopt
 * Return: entries whose status is not 0.
 */
int udp_send_batch(const int32_t *fds, const struct peer_row *peers, size_t peer_count, struct arena arena,
		   struct batch *batch, int32_t count, int32_t train_max)
{
	struct outbox box;
	int failed = 0;

	box.count = 0;
	box.message_count = 0;
	box.train_max = train_max;
	for (int32_t i = 0; i < count; i++) {
		struct outgoing out;

		batch->status[i] = 0;
		if (batch->verdict[i])
			continue;
		batch->status[i] = resolve_entry(&out, fds, peers, peer_count, arena, batch, i);
		if (batch->status[i]) {
			failed++;
			continue;
		}
		if (box.count && box.fd != out.fd)
			failed += send_outbox(&box, batch);
		append_entry(&box, &out, i);
	}
	return failed + send_outbox(&box, batch);
}

/**
 * udp_drain_errors() - empty the error queue of a socket, so that it stops failing sends and waits
 *
 * What the messages say is not looked at.
 *
 * #syscalls recvmsg getsockopt
 * Return: messages read.
 */
int udp_drain_errors(int fd)
{
	socklen_t len = sizeof(int);
	int count, pending;

	for (count = 0; count < DRAIN_MAX; count++) {
		struct msghdr header = { 0 };

		if (recvmsg(fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			break;
	}
	/* An error that found no room in the queue is pending all the same; asking for it clears it. */
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &len);
	return count;
}

/**
 * udp_drops() - datagrams dropped because the receive buffer was full, or for their checksum
 *
 * Counts from the socket's birth, modulo 2^32, as SO_RXQ_OVFL does; but needs no datagram to tell.
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
