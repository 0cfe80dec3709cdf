/* SPDX-License-Identifier: MIT
 *
 * Sends the datagrams of a batch: resolves socket, peer and outer header of each.
 *
 * DF and TTL are socket options, so there is one pool per DF setting; TOS is set per datagram. This
 * file splits superframes into segments (segment.c); the outbox transmits the datagrams.
 */
#include "outbox.h"
#include "tunnel.h"

#include <errno.h>

/* Differences of entry i's outer header from its socket's; -1 for invalid columns. */
static int32_t outer_of(const struct batch *batch, int32_t i)
{
	int32_t tos = batch->tos[i], df = batch->df[i];

	if (tos & ~0xff || df < DF_SET || df > DF_CLEAR_TOO_BIG)
		return -1;
	return tos | (df == DF_CLEAR_TOO_BIG ? OUTER_ALONE : 0);
}

/* First index of a pool in fds. Order: IPv4 and IPv6 with DF set, IPv4 and IPv6 with DF clear. */
static int32_t pool_of(int family, int32_t df)
{
	return ((df == DF_SET ? 0 : 2) + (family == AF_INET6)) * SOURCE_SOCKETS;
}

/* Checks entry i and resolves its destination. Returns 0 or a negative errno. */
static int resolve(struct destination *to, const int32_t *fds, const struct peer_row *peers, size_t peer_count,
		   const struct batch *batch, int32_t i)
{
	int32_t peer_idx = batch->peer_idx[i], src_port_idx = batch->src_port_idx[i];

	if (peer_idx < 0 || (size_t)peer_idx >= peer_count || src_port_idx < 0 || src_port_idx >= SOURCE_SOCKETS)
		return -EINVAL;
	to->outer = outer_of(batch, i);
	if (to->outer < 0)
		return -EINVAL;
	to->address_len = unpack_address(&to->address, &peers[peer_idx]);
	if (!to->address_len)
		return -EINVAL;
	if (peers[peer_idx].flags & PEER_HELD)
		return -ENETUNREACH;
	to->fd = fds[pool_of(to->address.any.sa_family, batch->df[i]) + src_port_idx];
	if (to->fd < 0)
		return -EAFNOSUPPORT;
	to->peer_idx = peer_idx;
	return 0;
}

/* Adds the segments consecutively, so that they form trains. */
static void add_segments(struct outbox *box, const struct destination *to, const struct superframe *super,
			 struct batch *batch, int32_t i)
{
	for (int32_t k = 0; k < super->count; k++) {
		struct iovec pieces[2];

		if (!outbox_takes(box, to, (size_t)super->headers_len))
			outbox_send(box, batch);
		pieces[0] = (struct iovec){ box->headers + box->headers_len, (size_t)super->headers_len };
		pieces[1] = segment_write(super, k, pieces[0].iov_base);
		box->headers_len += (size_t)super->headers_len;
		outbox_add(box, to, i, pieces, 2);
	}
}

/* True if the superframe was sent whole. The outbox is sent first to keep the order. */
static int left_whole(struct outbox *box, struct tunnel *tunnel, const struct peer_row *peer,
		      const struct superframe *super, struct batch *batch, int32_t i)
{
	int err;

	if (!tunnel || !tunnel_takes(tunnel, peer, super, batch, i))
		return 0;
	outbox_send(box, batch);
	err = tunnel_send(tunnel, peer, super, batch, i);
	if (err)
		tunnel->error = err;
	return !err;
}

static void add_datagram(struct outbox *box, const struct destination *to, uint8_t *bytes, struct batch *batch,
			 int32_t i)
{
	struct iovec piece = { bytes, (size_t)batch->len[i] };

	if (!outbox_takes(box, to, 0))
		outbox_send(box, batch);
	outbox_add(box, to, i, &piece, 1);
}

/* Adds entry i to the outbox. Returns 0 or a negative errno. */
static int add_entry(struct outbox *box, const int32_t *fds, const struct peer_row *peers, size_t peer_count,
		     struct arena arena, struct batch *batch, int32_t i, struct tunnel *tunnel)
{
	struct destination to;
	struct superframe super;
	int err;

	if (!arena_holds(arena, batch->off[i], batch->len[i]))
		return -EFAULT;
	err = resolve(&to, fds, peers, peer_count, batch, i);
	if (err)
		return err;
	if (batch->gso_type[i] == FRAME_GSO_NONE) {
		add_datagram(box, &to, arena.base + batch->off[i], batch, i);
		return 0;
	}
	if (segment_check(&super, arena.base + batch->off[i], batch, i))
		return -EINVAL;
	if (!left_whole(box, tunnel, &peers[to.peer_idx], &super, batch, i))
		add_segments(box, &to, &super, batch, i);
	return 0;
}

/*
 * Orders the entries with verdict 0 by source port, so that they share system calls and trains. All
 * frames of a flow have the same source port and therefore stay in order. Returns the number of
 * entries.
 */
static int32_t by_port(const struct batch *batch, int32_t count, uint8_t order[BATCH_CAP])
{
	uint8_t ends[SOURCE_SOCKETS] = { 0 };
	int32_t total = 0;

	_Static_assert(BATCH_CAP <= UINT8_MAX, "indices fit into bytes");

	for (int32_t i = 0; i < count; i++)
		ends[batch->src_port_idx[i] & (SOURCE_SOCKETS - 1)] += !batch->verdict[i];
	for (int32_t port = 0; port < SOURCE_SOCKETS; port++)
		ends[port] = (uint8_t)(total += ends[port]);
	for (int32_t i = count - 1; i >= 0; i--)
		if (!batch->verdict[i])
			order[--ends[batch->src_port_idx[i] & (SOURCE_SOCKETS - 1)]] = (uint8_t)i;
	return total;
}

/**
 * udp_send_batch() - send the entries with verdict 0; entries of one source port stay in order
 * @fds:	SEND_SOCKETS sockets in four pools: IPv4 and IPv6 with DF set, IPv4 and IPv6 with
 *		DF clear; each pool is indexed by src_port_idx; -1: no socket
 * @peers:	peer rows, indexed by peer_idx
 * @train_max:	maximum datagrams in a UDP_SEGMENT train, which has at most 65,507 bytes; 1: no trains
 * @refused:	set if a train was refused and its datagrams were accepted, otherwise unchanged;
 *		NULL is allowed
 * @tunnel:	outer TAP for superframes sent whole, or NULL; its id and error are updated
 * @errors:	receives path errors of the error queues emptied after failed sends
 *
 * An entry with a gso_type is a superframe after a VXLAN header. It is sent whole or as its
 * segments.
 *
 * status: 0 sent (all segments, for a superframe) or skipped; -EFAULT outside the arena; -EINVAL
 * invalid peer, empty row, invalid socket index or outer header, or a superframe that
 * segment_check() refuses; -ENETUNREACH a held peer; -EAFNOSUPPORT no socket of that family and DF
 * setting; else the errno of
 * sendmsg for this datagram, or for the first failed segment of a superframe.
 *
 * #syscalls sendmmsg sendmsg recvmsg getsockopt writev
 * Return: entries whose status is not 0.
 */
int udp_send_batch(const int32_t *fds, const struct peer_row *peers, size_t peer_count, struct arena arena,
		   struct batch *batch, int32_t count, int32_t train_max, struct refused_train *refused,
		   struct tunnel *tunnel, struct path_errors *errors)
{
	struct outbox box;
	uint8_t order[BATCH_CAP];
	int32_t sendable = by_port(batch, count, order);
	int failed = 0;

	/*
	 * Clears all statuses first, because sending one entry also sets the statuses of entries
	 * that wait in the outbox.
	 */
	for (int32_t i = 0; i < count; i++)
		batch->status[i] = 0;
	outbox_clear(&box);
	box.train_max = train_max;
	box.refused = refused;
	box.errors = errors;
	for (int32_t k = 0; k < sendable; k++) {
		int err = add_entry(&box, fds, peers, peer_count, arena, batch, order[k], tunnel);

		if (err)
			batch->status[order[k]] = err;
	}
	outbox_send(&box, batch);
	for (int32_t i = 0; i < count; i++)
		failed += batch->status[i] != 0;
	return failed;
}
