/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: a batch for several peers (send.c, outbox.c, segment.c, tunnel.c, path_errors.c).
 * WRAP sendmmsg sendmsg recvmsg getsockopt writev
 *
 * Oracle: the datagrams that reach the kernel for a peer are exactly those of that peer's entries,
 * unchanged or split into segments. They are in order, and each is sent once, with the outer header
 * and through the socket that its columns select. Of the superframes, only TCP is sent whole. The
 * length of a train is bounded, and UDP_SEGMENT splits a train exactly between its datagrams. An
 * entry has status 0 if and only if all of it was sent.
 */
#include "../../outbox.h"
#include "../../tunnel.h"
#include "fuzz.h"

#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define PEERS 4
#define TUNNEL_FD 5000
#define FIRST_FD 1000

static struct peer_row peers[PEERS];
static int32_t fds[SEND_SOCKETS], order[ENTRIES_MAX], sendable, train_max;
static struct tunnel tunnel;
static int has_tunnel;

static int32_t sent[ENTRIES_MAX]; /* datagrams sent of each entry */
static int is_whole[ENTRIES_MAX]; /* the superframe was sent whole */

/* The datagram sent last: index of its entry in `order`, and its segment. */
static int32_t last_place, last_segment;

static int is_super(int32_t i)
{
	return batch.gso_type[i] != FRAME_GSO_NONE;
}

static const uint8_t *start_of(int32_t i)
{
	return arena.base + batch.off[i];
}

static int is_sound(int32_t i)
{
	return arena_holds(arena, batch.off[i], batch.len[i]) && batch.peer_idx[i] >= 0 && batch.peer_idx[i] < PEERS &&
	       batch.src_port_idx[i] >= 0 && batch.src_port_idx[i] < SOURCE_SOCKETS;
}

struct outer {
	int tos, size;
};

/* Parses control messages like the kernel. */
static struct outer outer_of(struct msghdr *header)
{
	struct outer outer = { 0 };
	int is_ipv6 = ((struct sockaddr *)header->msg_name)->sa_family == AF_INET6;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		uint16_t size;

		if (c->cmsg_level == IPPROTO_UDP) {
			ORACLE(c->cmsg_type == UDP_SEGMENT && c->cmsg_len == CMSG_LEN(sizeof(size)) && !outer.size);
			memcpy(&size, CMSG_DATA(c), sizeof(size));
			outer.size = size;
			ORACLE(size > 0);
			continue;
		}
		ORACLE(c->cmsg_len == CMSG_LEN(sizeof(int)) && c->cmsg_level == (is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP));
		if (c->cmsg_type == (is_ipv6 ? IPV6_TCLASS : IP_TOS))
			memcpy(&outer.tos, CMSG_DATA(c), sizeof(int));
		else
			ORACLE(!"a known control message");
	}
	return outer;
}

static int address_is(const struct msghdr *header, const struct peer_row *row)
{
	const union address *to = header->msg_name;

	if (to->any.sa_family != row->family)
		return 0;
	if (row->family == AF_INET)
		return header->msg_namelen == sizeof(to->ipv4) && ntohs(to->ipv4.sin_port) == row->port &&
		       memcmp(&to->ipv4.sin_addr, row->addr, 4) == 0;
	return header->msg_namelen == sizeof(to->ipv6) && ntohs(to->ipv6.sin6_port) == row->port &&
	       to->ipv6.sin6_scope_id == row->scope_id && memcmp(&to->ipv6.sin6_addr, row->addr, 16) == 0;
}

static int socket_is(int fd, int32_t i)
{
	int pool = (batch.df[i] == DF_SET ? 0 : 2) + (peers[batch.peer_idx[i]].family == AF_INET6);

	return fd == fds[pool * SOURCE_SOCKETS + batch.src_port_idx[i]];
}

/* Segment of entry i that begins at these pieces, or -1. */
static int32_t segment_at(int32_t i, const struct iovec *pieces)
{
	struct cut cut;
	int32_t at, k;

	if ((const uint8_t *)pieces[1].iov_base < start_of(i) ||
	    (const uint8_t *)pieces[1].iov_base >= start_of(i) + batch.len[i])
		return -1;
	cut = cut_of(start_of(i), batch.len[i], batch.csum_start[i], i);
	at = (int32_t)((uint8_t *)pieces[1].iov_base - start_of(i)) - cut.headers_len;
	k = at / cut.size;
	ORACLE(at >= 0 && at % cut.size == 0 && (int32_t)pieces[0].iov_len == cut.headers_len);
	ORACLE((int32_t)pieces[1].iov_len == (k < cut.count - 1 ? cut.size : cut.payload_len - at));
	if (!is_checked(k, cut.count))
		return k;
	check_headers(&cut, start_of(i), pieces[0].iov_base, k, (int32_t)pieces[1].iov_len);
	check_segment(start_of(i) + VXLAN_LEN, batch.len[i] - VXLAN_LEN, i, batch.csum_start[i] - VXLAN_LEN,
		      (uint8_t *)pieces[0].iov_base + VXLAN_LEN, k);
	return k;
}

/*
 * Finds the datagram that begins with pieces[0] among the expected datagrams after the last one.
 * Returns its entry.
 */
static int32_t find(int fd, const struct msghdr *header, const struct iovec *pieces)
{
	int is_segment = !in_arena(pieces[0].iov_base) && pieces[0].iov_len;

	for (; last_place < sendable; last_place++, last_segment = -1) {
		int32_t i = order[last_place], k;

		if (!is_sound(i) || is_super(i) != is_segment || !address_is(header, &peers[batch.peer_idx[i]]))
			continue;
		if (!is_segment && last_segment < 0 && pieces[0].iov_base == start_of(i) &&
		    (int32_t)pieces[0].iov_len == batch.len[i]) {
			last_segment = 0;
		} else {
			k = is_segment ? segment_at(i, pieces) : -1;
			if (k <= last_segment)
				continue;
			last_segment = k;
		}
		ORACLE(socket_is(fd, i));
		return i;
	}
	ORACLE(!"bytes of an entry for this peer, in order");
	return -1;
}

static void message_gone(int fd, struct msghdr *header)
{
	struct outer outer = outer_of(header);
	int count = 0, total = 0;

	for (size_t k = 0; k < header->msg_iovlen; count++) {
		const struct iovec *pieces = &header->msg_iov[k];
		int32_t i = find(fd, header, pieces), len = (int32_t)pieces[0].iov_len;

		k++;
		if (is_super(i)) {
			ORACLE(k < header->msg_iovlen);
			len += (int32_t)header->msg_iov[k++].iov_len;
		}
		ORACLE(outer.tos == batch.tos[i]);
		ORACLE(outer.size ? len == outer.size || (k == header->msg_iovlen && len > 0 && len < outer.size) :
				    k == header->msg_iovlen);
		ORACLE(!outer.size || batch.df[i] != DF_CLEAR_TOO_BIG);
		total += len;
		sent[i]++;
	}
	ORACLE(!outer.size || (count <= train_max && total <= 65507));
}

int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags);
ssize_t __wrap_sendmsg(int fd, struct msghdr *header, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *header, int flags);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int count);

int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	uint8_t answer = take_answer();

	ORACLE(count > 0 && count <= BATCH_CAP && flags == MSG_DONTWAIT);
	if (answer & 1) {
		errno = answer_errno(answer >> 1);
		return -1;
	}
	if (answer && answer / 2 < count)
		count = answer / 2;
	for (unsigned int m = 0; m < count; m++)
		message_gone(fd, &messages[m].msg_hdr);
	return (int)count;
}

ssize_t __wrap_sendmsg(int fd, struct msghdr *header, int flags)
{
	uint8_t answer = take_answer();

	ORACLE(flags == MSG_DONTWAIT);
	if (answer & 1) {
		errno = answer_errno(answer >> 1);
		return -1;
	}
	message_gone(fd, header);
	return 0;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *header, int flags)
{
	ORACLE(fd >= FIRST_FD && header->msg_controllen && flags & MSG_ERRQUEUE);
	errno = EAGAIN;
	return -1;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	ORACLE(fd >= FIRST_FD && level == SOL_SOCKET && name == SO_ERROR && *len == sizeof(int));
	memset(value, 0, sizeof(int));
	return 0;
}

/* Checks a superframe on the outer TAP. */
static void whole_gone(const struct iovec *iov)
{
	const uint8_t *outer = iov[1].iov_base;
	struct tunnel_vnet vnet;
	struct cut cut;
	int32_t i = -1;

	for (; last_place < sendable && i < 0; last_place++, last_segment = -1)
		if (is_sound(order[last_place]) && is_super(order[last_place]) &&
		    iov[2].iov_base == start_of(order[last_place]) &&
		    peers[batch.peer_idx[order[last_place]]].flags & PEER_TUNNEL &&
		    memcmp(outer + 30, peers[batch.peer_idx[order[last_place]]].addr, 4) == 0)
			i = order[last_place];
	ORACLE(i >= 0 && (int32_t)iov[2].iov_len == batch.len[i]);
	cut = cut_of(start_of(i), batch.len[i], batch.csum_start[i], i);
	memcpy(&vnet, iov[0].iov_base, sizeof(vnet));
	ORACLE(cut.is_tcp && cut.count > 1 && 28 + cut.headers_len + cut.size <= tunnel.mtu);
	ORACLE(vnet.plain.gso_size == cut.size && vnet.plain.gso_type == (batch.gso_type[i] | 0x20));
	ORACLE(vnet.plain.hdr_len == 42 + cut.headers_len && vnet.plain.csum_start == 42 + cut.l4);
	ORACLE(vnet.outer_th_offset == 34 && vnet.inner_nh_offset == 42 + cut.ip);
	ORACLE(iov[1].iov_len == 42 && get16(outer + 16) == 28 + batch.len[i] && get16(outer + 38) == 8 + batch.len[i]);
	ORACLE(sum16(outer + 14, 20, 0) == 0xffff && outer[15] == batch.tos[i]);
	ORACLE(outer[22] == tunnel.ttl);
	ORACLE(!!(get16(outer + 20) & 0x4000) == (batch.df[i] == DF_SET) && batch.df[i] != DF_CLEAR_TOO_BIG);
	ORACLE(get16(outer + 34) == tunnel.ports[batch.src_port_idx[i]]);
	is_whole[i] = 1;
}

ssize_t __wrap_writev(int fd, const struct iovec *iov, int count)
{
	uint8_t answer = take_answer();

	ORACLE(has_tunnel && fd == TUNNEL_FD && count == 3 && iov[0].iov_len == sizeof(struct tunnel_vnet));
	if (answer & 1) {
		errno = answer_errno(answer >> 1);
		return -1;
	}
	whole_gone(iov);
	return 1;
}

static void take_peers(void)
{
	static const struct peer_row rows[PEERS] = {
		{ .family = AF_INET, .port = 4789, .addr = { 10, 0, 0, 1 } },
		{ .family = AF_INET, .port = 4790, .addr = { 10, 0, 0, 2 }, .flags = PEER_TUNNEL },
		{ .family = AF_INET6, .port = 4789, .addr = { 0xfe, 0x80, [15] = 3 }, .scope_id = 7 },
		{ .family = AF_INET6, .port = 4789, .addr = { 0xfd, [15] = 4 }, .flags = PEER_TUNNEL },
	};

	memcpy(peers, rows, sizeof(peers));
	if (take_below(16) == 15)
		peers[take_below(PEERS)].family = (uint16_t)take(2);
}

static void take_tunnel(void)
{
	static const int32_t mtus[] = { 1500, 9000, 65535, 576 };
	uint32_t form = take(1);

	has_tunnel = form & 1;
	tunnel = (struct tunnel){ .fd = form & 2 ? -1 : TUNNEL_FD, .local = { 10, 0, 0, 9 }, .mtu = mtus[form >> 2 & 3],
				  .ttl = 64, .options = (int32_t)(form >> 4 & 3), .id = 0xfff0 };
	for (int k = 0; k < SOURCE_SOCKETS; k++)
		tunnel.ports[k] = 50000 + k;
}

static void take_columns(void)
{
	for (int32_t i = 0; i < entries; i++) {
		uint32_t form = take(1);

		batch.peer_idx[i] = (int32_t)(form & 3);
		batch.src_port_idx[i] = (int32_t)(form >> 2 & 3);
		batch.df[i] = form >> 4 & 1;
		if (form & 0x20)
			batch.tos[i] = take_below(16) == 15 ? take_lie(0, 0) : (int32_t)take(1);
		if (form & 0x80 && take_below(4) == 1)
			batch.df[i] = take_lie(DF_CLEAR_TOO_BIG - 1, 0);
		if (form & 0x80 && take_below(4) == 1)
			batch.src_port_idx[i] = take_lie(0, 0);
		if (form & 0x80 && take_below(4) == 1)
			batch.peer_idx[i] = take_below(2) ? -1 : (int32_t)(PEERS + take(4));
	}
}

/*
 * Sorts entries by source port. Entries with an invalid port have the same position as in send.c,
 * which refuses these entries.
 */
static void fill_order(void)
{
	sendable = 0;
	for (int port = 0; port < SOURCE_SOCKETS; port++)
		for (int32_t i = 0; i < entries; i++)
			if (!batch.verdict[i] && (batch.src_port_idx[i] & (SOURCE_SOCKETS - 1)) == port)
				order[sendable++] = i;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int32_t trains[] = { 64, 1, 2, 128 };
	struct path_errors errors = { 0 };
	struct refused_train refused = { 0 };
	uint32_t options;
	int32_t used;
	int failed;

	input = (struct input){ data, size };
	options = take(1);
	train_max = trains[options & 3];
	for (int k = 0; k < SEND_SOCKETS; k++)
		fds[k] = options & 0x10U << k / SOURCE_SOCKETS ? -1 : FIRST_FD + k;
	take_peers();
	take_tunnel();
	used = take_frames(VXLAN_LEN, 0);
	take_lies();
	take_columns();
	fill_order();
	memset(sent, 0, sizeof(sent));
	memset(is_whole, 0, sizeof(is_whole));
	last_place = 0;
	last_segment = -1;
	open_arena(used, 0);
	failed = udp_send_batch(fds, peers, PEERS, arena, &batch, entries, train_max, options & 4 ? NULL : &refused,
				has_tunnel ? &tunnel : NULL, &errors);
	for (int32_t i = 0; i < entries; i++) {
		int32_t wanted = 1;

		failed -= batch.status[i] != 0;
		if (batch.verdict[i] || !is_sound(i)) {
			ORACLE(!sent[i] && !is_whole[i] && (batch.verdict[i] ? !batch.status[i] : batch.status[i] < 0));
			continue;
		}
		if (is_super(i) && (sent[i] || !batch.status[i]))
			wanted = cut_of(start_of(i), batch.len[i], batch.csum_start[i], i).count;
		ORACLE(!is_whole[i] || (!sent[i] && !batch.status[i]));
		ORACLE(is_whole[i] || (!batch.status[i] ? sent[i] == wanted : sent[i] < wanted));
	}
	ORACLE(failed == 0 && errors.count == 0);
	close_arena();
	return 0;
}
