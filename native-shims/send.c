/* SPDX-License-Identifier: MIT
 *
 * Sending datagrams of a batch.
 *
 * Neighbours on one socket share a sendmmsg. In it a message is one datagram, or a train: neighbours of
 * one size for one peer, only the last of which may be shorter. A train crosses the stack as one buffer
 * and UDP_SEGMENT cuts it as late as possible; the payload is gathered where it lies. Order is kept.
 *
 * Errors. A socket with IP_RECVERR keeps what ICMP said of any of its datagrams, and fails its next
 * send with it, whoever that one is for. So a failed send proves nothing about its own peer until the
 * error queue is drained and the same datagram has failed again. EAGAIN and ENOBUFS are about the
 * socket's own buffer: a second attempt would not find it emptier. A train may be refused as a train;
 * then its datagrams go one by one.
 */
#include "address.h"

#include <errno.h>
#include <sys/uio.h>

#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* Bytes of a whole train: it crosses the stack as one IPv4 packet. */
#define TRAIN_LEN_MAX 65507

union segment_control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(uint16_t))];
};

/*
 * Neighbouring entries of a batch that leave through one socket.
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
