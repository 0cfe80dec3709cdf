/* SPDX-License-Identifier: MIT
 *
 * Sends consecutive datagrams of one socket with one sendmmsg.
 *
 * Each message is one datagram or a train: adjacent datagrams of one size for one peer, of which
 * only the last may be shorter. A train crosses the stack as one buffer and UDP_SEGMENT splits the
 * train as late as possible. The kernel gathers each payload from where it lies in the arena.
 * Datagrams stay in order. All datagrams of a train get the same outer header, so only datagrams
 * with equal outer headers form a train. A datagram larger than the path MTU is sent alone, since
 * UDP_SEGMENT never allows fragmentation.
 *
 * Errors. A socket with IP_RECVERR stores the ICMP error that a datagram caused. The next send
 * through this socket fails with that error, even if it has another destination. A failed send is
 * therefore attempted a second time, after the error queue has been drained. Only the failure of
 * this second attempt concerns the destination of the datagram. EAGAIN and ENOBUFS mean that the
 * socket's own buffer is full, so an immediate second attempt would fail too. If the kernel refuses
 * a train for a reason that possibly does not concern single datagrams, the datagrams are sent one
 * by one. The caller is informed, unless the reason was the size of the train. Linux does not
 * report why a sendmmsg stopped before its last message. The next sendmmsg begins with the message
 * that failed, which is the second attempt.
 */
#include "outbox.h"

#include <errno.h>

#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* Maximum bytes of a train, because it crosses the stack as one IPv4 packet. */
#define TRAIN_LEN_MAX 65507

/*
 * Bytes of a datagram that fits every path: Linux accepts no path MTU below 552
 * (net.ipv4.route.min_pmtu).
 */
#define SMALL_LEN 512

/* Errors that mean the socket's own buffer is full. */
static int is_congestion(int err)
{
	return err == -EAGAIN || err == -ENOBUFS || err == -ENOMEM;
}

/*
 * Errors that possibly concern the train only and not its single datagrams. The causes are
 * datagrams larger than the path MTU, which are fragmented if sent one by one; a socket that sends
 * no UDP checksum; and a device without checksum offload.
 */
static int is_of_train(int err)
{
	return err == -EMSGSIZE || err == -EINVAL || err == -EIO;
}

/* Records an error. An entry with several datagrams reports the first that failed. */
static void fail(struct batch *batch, int32_t entry, int err)
{
	if (err && !batch->status[entry])
		batch->status[entry] = err;
}

static int send_again(struct outbox *box, const struct msghdr *header)
{
	udp_read_errors(box->fd, box->errors);
	return sendmsg(box->fd, header, MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Sends the datagrams of a refused train one by one. Returns the number sent. */
static int send_apart(struct outbox *box, int32_t m, struct batch *batch)
{
	const struct msghdr *train = &box->messages[m].msg_hdr;
	struct msghdr header = {
		.msg_name = train->msg_name,
		.msg_namelen = train->msg_namelen,
		.msg_control = &box->controls[m].tos,
		.msg_controllen = train->msg_controllen - sizeof(union control_slot),
	};
	int sent = 0;

	for (int32_t d = box->first[m]; d < box->first[m + 1]; d++) {
		int err;

		header.msg_iov = &box->iov[box->datagrams[d].iov];
		header.msg_iovlen = (size_t)(box->datagrams[d + 1].iov - box->datagrams[d].iov);
		err = sendmsg(box->fd, &header, MSG_DONTWAIT) < 0 ? -errno : 0;
		if (err && !is_congestion(err))
			err = send_again(box, &header);
		fail(batch, box->datagrams[d].entry, err);
		sent += !err;
	}
	return sent;
}

/*
 * Records a train that was refused although its datagrams were accepted.
 *
 * Two causes are recorded: the kernel lacks UDP_SEGMENT (EINVAL), or it cannot use UDP_SEGMENT on
 * that path because the device lacks checksum offload or IPsec would have to segment (EIO).
 * EMSGSIZE is not recorded, because a train that is too large for one path possibly fits other
 * paths. Older kernels return EINVAL instead of EMSGSIZE (udp_send_skb), so EINVAL is recorded only
 * for small datagrams.
 */
static void report_refused(const struct outbox *box, int32_t m, int err, const struct batch *batch)
{
	const struct outgoing *first = &box->datagrams[box->first[m]];

	if (box->refused && (err == -EIO || (err == -EINVAL && first->len <= SMALL_LEN)))
		*box->refused = (struct refused_train){ .error = err, .peer_idx = batch->peer_idx[first->entry] };
}

/* Handles a message that sendmmsg refused with err. */
static void send_refused(struct outbox *box, int32_t m, int err, struct batch *batch)
{
	int is_train = box->first[m + 1] - box->first[m] > 1;

	if (!is_congestion(err) && !(is_train && is_of_train(err)))
		err = send_again(box, &box->messages[m].msg_hdr);
	if (is_train && is_of_train(err)) {
		if (send_apart(box, m, batch))
			report_refused(box, m, err, batch);
		return;
	}
	for (int32_t d = box->first[m]; d < box->first[m + 1]; d++)
		fail(batch, box->datagrams[d].entry, err);
}

void outbox_clear(struct outbox *box)
{
	box->message_count = 0;
	box->datagram_count = 0;
	box->iov_count = 0;
	box->headers_len = 0;
}

/**
 * outbox_send() - send all messages and empty the outbox
 *
 * Sets the status of each entry that failed, unless an earlier error has set this status.
 *
 * #syscalls sendmmsg sendmsg
 */
void outbox_send(struct outbox *box, struct batch *batch)
{
	int32_t done = 0;

	box->first[box->message_count] = box->datagram_count;
	box->datagrams[box->datagram_count].iov = box->iov_count;
	while (done < box->message_count) {
		int sent = sendmmsg(box->fd, box->messages + done, (unsigned int)(box->message_count - done),
				    MSG_DONTWAIT);

		if (sent > 0)
			done += sent;
		else
			send_refused(box, done++, -errno, batch);
	}
	outbox_clear(box);
}

/**
 * outbox_takes() - check whether another datagram can be added: same socket, enough space
 * @headers_len:	bytes of the datagram's header block; 0: none
 */
int outbox_takes(const struct outbox *box, const struct destination *to, size_t headers_len)
{
	return !box->message_count ||
	       (box->fd == to->fd && box->message_count < BATCH_CAP && box->datagram_count < OUTBOX_DATAGRAMS &&
		headers_len <= OUTBOX_HEADERS_LEN - box->headers_len);
}

/*
 * True if the datagram can extend the last message. An empty datagram adds no bytes, so a train
 * cannot represent it.
 */
static int joins_train(const struct outbox *box, const struct destination *to, size_t len)
{
	int32_t first;
	size_t size;

	if (!box->message_count || box->peer_idx != to->peer_idx || box->outer != to->outer || to->outer & OUTER_ALONE ||
	    !len)
		return 0;
	first = box->first[box->message_count - 1];
	size = box->datagrams[first].len;
	return size > 0 && box->datagram_count - first < box->train_max &&
	       box->datagrams[box->datagram_count - 1].len == size && len <= size &&
	       box->train_len + len <= TRAIN_LEN_MAX;
}

static void write_control(union control_slot *slot, int level, int type, const void *value, size_t len)
{
	slot->header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type };
	memcpy(CMSG_DATA(&slot->header), value, len);
}

/* Turns a message into a train when its second datagram is added. */
static void extend_train(struct outbox *box)
{
	int32_t m = box->message_count - 1;
	struct msghdr *header = &box->messages[m].msg_hdr;
	union control_slot *slot = &box->controls[m].segment;
	uint16_t size = (uint16_t)box->datagrams[box->first[m]].len;

	if (header->msg_control == slot)
		return;
	write_control(slot, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
	header->msg_control = slot;
	header->msg_controllen += sizeof(*slot);
}

/*
 * Writes the outer header fields. The kernel applies them to each message of a sendmmsg separately,
 * even if the message is a train: requirements/outer_header.c.
 */
static void write_outer(struct msghdr *header, struct message_control *control, const struct destination *to)
{
	int ipv6 = to->address.any.sa_family == AF_INET6, level = ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;
	int tos = to->outer & OUTER_TOS;

	write_control(&control->tos, level, ipv6 ? IPV6_TCLASS : IP_TOS, &tos, sizeof(tos));
	header->msg_control = &control->tos;
	header->msg_controllen = sizeof(control->tos);
}

static void begin_message(struct outbox *box, const struct destination *to)
{
	int32_t m = box->message_count++;

	box->first[m] = box->datagram_count;
	box->peer_idx = to->peer_idx;
	box->outer = to->outer;
	box->train_len = 0;
	box->addresses[m] = to->address;
	box->messages[m].msg_hdr = (struct msghdr){
		.msg_name = &box->addresses[m],
		.msg_namelen = to->address_len,
		.msg_iov = &box->iov[box->iov_count],
	};
	if (to->outer & OUTER_TOS)
		write_outer(&box->messages[m].msg_hdr, &box->controls[m], to);
}

/**
 * outbox_add() - append a datagram accepted by outbox_takes()
 * @pieces:	bytes of the datagram, borrowed until the outbox is sent
 * @count:	number of pieces, 1 or 2
 */
void outbox_add(struct outbox *box, const struct destination *to, int32_t entry, const struct iovec *pieces, int count)
{
	struct outgoing *datagram = &box->datagrams[box->datagram_count];
	size_t len = pieces[0].iov_len + (count > 1 ? pieces[1].iov_len : 0);

	box->fd = to->fd;
	if (joins_train(box, to, len))
		extend_train(box);
	else
		begin_message(box, to);
	*datagram = (struct outgoing){ .entry = entry, .iov = box->iov_count, .len = len };
	memcpy(&box->iov[box->iov_count], pieces, (size_t)count * sizeof(*pieces));
	box->iov_count += count;
	box->datagram_count++;
	box->train_len += len;
	box->messages[box->message_count - 1].msg_hdr.msg_iovlen += (size_t)count;
}
