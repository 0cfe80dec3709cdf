/* SPDX-License-Identifier: MIT
 *
 * Queue of datagrams for one socket: filled by send.c, sent by outbox.c.
 */
#ifndef VTEPD_OUTBOX_H
#define VTEPD_OUTBOX_H

#include "address.h"

#include <sys/uio.h>

/* Maximum datagrams: more than two full trains. A full outbox is sent before more are added. */
#define OUTBOX_DATAGRAMS 256

/* Bytes for the header blocks of OUTBOX_DATAGRAMS segments, usually 74 to 96 bytes each. */
#define OUTBOX_HEADERS_LEN (OUTBOX_DATAGRAMS * 96)

/* Differences of a datagram's outer header from its socket's defaults: one word, usually 0. */
#define OUTER_TOS 0xff    /* TOS or traffic class */
#define OUTER_ALONE 0x100 /* the datagram joins no train */

/* One control message of at most an int. */
union control_slot {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};
_Static_assert(CMSG_SPACE(sizeof(uint16_t)) == sizeof(union control_slot), "the next message begins after a slot");

/**
 * struct message_control - control messages of one message, back to back
 * @segment:	UDP_SEGMENT; lies in front of @tos, because a message becomes a train after @tos has
 *		been written
 * @tos:	outer TOS or traffic class
 */
struct message_control {
	union control_slot segment;
	union control_slot tos;
};

/**
 * struct destination - peer, socket and outer header of a datagram
 * @peer_idx:	peer row of the address
 * @outer:	OUTER_*
 */
struct destination {
	int fd;
	int32_t peer_idx;
	int32_t outer;
	socklen_t address_len;
	union address address;
};

/**
 * struct outgoing - one datagram of an outbox
 * @entry:	index of its descriptor
 * @iov:	index of its first iovec; its last iovec is in front of the next datagram's first
 * @len:	bytes
 */
struct outgoing {
	int32_t entry;
	int32_t iov;
	size_t len;
};

/**
 * struct outbox - consecutive datagrams of a batch that are sent through one socket, in order
 *
 * A message is one datagram or a train. Message m begins with datagram first[m]. The arrays first
 * and datagrams have one extra entry that marks the end of the last message and datagram.
 *
 * @train_max:	maximum datagrams per train
 * @refused:	set when a train is refused; may be NULL
 * @train_len:	bytes of the last message
 * @peer_idx:	peer row of the last message
 * @outer:	OUTER_* of the last message
 * @errors:	receives path errors of the socket's error queue
 * @headers:	header blocks of segments, headers_len bytes in use
 */
struct outbox {
	int fd;
	int32_t train_max;
	struct refused_train *refused;
	int32_t message_count;
	int32_t datagram_count;
	int32_t iov_count;
	int32_t peer_idx;
	int32_t outer;
	size_t train_len;
	size_t headers_len;
	struct path_errors *errors;
	struct mmsghdr messages[BATCH_CAP];
	union address addresses[BATCH_CAP];
	struct message_control controls[BATCH_CAP];
	int32_t first[BATCH_CAP + 1];
	struct outgoing datagrams[OUTBOX_DATAGRAMS + 1];
	struct iovec iov[2 * OUTBOX_DATAGRAMS];
	uint8_t headers[OUTBOX_HEADERS_LEN];
};

void outbox_clear(struct outbox *box);
int outbox_takes(const struct outbox *box, const struct destination *to, size_t headers_len);
void outbox_add(struct outbox *box, const struct destination *to, int32_t entry, const struct iovec *pieces, int count);
void outbox_send(struct outbox *box, struct batch *batch);

#endif
