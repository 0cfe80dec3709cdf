/* SPDX-License-Identifier: MIT
 *
 * Sending the datagrams of a batch: which socket and which peer each is for, what outer header it has, and what
 * it is made of. DF and TTL are a socket's, so there is a pool for either DF; TOS is a datagram's. A
 * superframe is cut into its segments here (segment.c); how they travel is the outbox's business.
 */
#include "outbox.h"
#include "tunnel.h"

#include <errno.h>

/* How the outer header of entry i differs from its socket's; -1 for columns that say nothing sensible. */
static int32_t outer_of(const struct batch *batch, int32_t i)
{
	int32_t tos = batch->tos[i], df = batch->df[i];

	if (tos & ~0xff || df < DF_SET || df > DF_CLEAR_TOO_BIG)
		return -1;
	return tos | (df == DF_CLEAR_TOO_BIG ? OUTER_ALONE : 0);
}

/* The pools of fds: IPv4 and IPv6 with DF set, the same with DF clear. */
static int32_t pool_of(int family, int32_t df)
{
	return ((df == DF_SET ? 0 : 2) + (family == AF_INET6)) * SOURCE_SOCKETS;
}

/* Checks and resolves where entry i goes. 0, or why it can't be sent. */
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
	to->fd = fds[pool_of(to->address.any.sa_family, batch->df[i]) + src_port_idx];
	if (to->fd < 0)
		return -EAFNOSUPPORT;
	to->peer_idx = peer_idx;
	return 0;
}

/* Segments go one behind the other, so that they make trains by themselves. */
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

/* True if it has left whole. What waits in the box is older and goes first. */
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

/* Puts entry i in the box. 0, or why it can't be sent. */
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
 * The entries whose verdict is 0, those of one source port together: they share system calls and trains. A flow has one
 * port, so its order is kept. Returns how many there are.
 */
static int32_t by_port(const struct batch *batch, int32_t count, uint8_t order[BATCH_CAP])
{
	uint8_t ends[SOURCE_SOCKETS] = { 0 };
	int32_t total = 0;

	_Static_assert(BATCH_CAP <= UINT8_MAX, "places fit into bytes");

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
 * udp_send_batch() - send the entries whose verdict is 0, those of one source port in order
 * @fds:	SEND_SOCKETS sockets: of IPv4 and of IPv6 with DF set, then of both with DF clear, each by
 *		src_port_idx; -1 none
 * @peers:	rows by peer_idx
 * @train_max:	datagrams in one UDP_SEGMENT train of at most 65,507 bytes; 1: no trains
 * @refused:	set if a train was refused for being one, left alone otherwise; may be NULL
 * @tunnel:	the way for superframes that may leave whole, or NULL; its id and error are updated
 * @errors:	path errors that come up when a failed send has its error queue emptied are added
 *
 * An entry with a gso_type is a superframe behind a VXLAN header: it leaves whole, or as its segments.
 *
 * status: 0 sent, of a superframe every segment (or skipped); -EFAULT outside the arena; -EINVAL no such
 * peer, an empty row, no such socket index or outer header, or a superframe that segment_check() refuses;
 * -EAFNOSUPPORT no socket of that family and DF; else what sendmsg says of this datagram, of a superframe what it
 * says of the first segment that failed.
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

	/* All before the first: sending one entry tells of those that wait in the box, too. */
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
