/* SPDX-License-Identifier: MIT
 *
 * Datagrams on their way through one socket: what send.c puts in and outbox.c sends.
 */
#ifndef VTEPD_OUTBOX_H
#define VTEPD_OUTBOX_H

#include "address.h"

#include <sys/uio.h>

/* Two full trains and more; a superframe that finds no room has the box sent first. */
#define OUTBOX_DATAGRAMS 256

/* Header blocks of that many segments, of the usual 74 to 96 bytes. */
#define OUTBOX_HEADERS_LEN (OUTBOX_DATAGRAMS * 96)

/*
 * How a datagram's outer header differs from what its socket writes, in one word that is 0 for most: TOS or
 * traffic class, and whether it must not be part of a train.
 */
#define OUTER_TOS 0xff
#define OUTER_ALONE 0x100

/* One control message, of an int or less. */
union control_slot {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};
_Static_assert(CMSG_SPACE(sizeof(uint16_t)) == sizeof(union control_slot), "a slot is where the next message begins");

/**
 * struct message_control - the control messages of one message, one behind the other
 * @segment:	UDP_SEGMENT; in front, as a message becomes a train after @tos is written
 * @tos:	outer TOS or traffic class
 */
struct message_control {
	union control_slot segment;
	union control_slot tos;
};

/**
 * struct destination - where a datagram goes, through which socket, and in what outer header
 * @peer_idx:	row that the address is from
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
 * @entry:	descriptor that it is of
 * @iov:	its first iovec; the next datagram's ends it
 * @len:	bytes
 */
struct outgoing {
	int32_t entry;
	int32_t iov;
	size_t len;
};

/**
 * struct outbox - neighbouring datagrams of a batch that leave through one socket, in order
 *
 * A message is one datagram, or a train of them. Message m begins with datagram first[m]; one more entry of
 * first and of datagrams tells where the last ones end.
 *
 * @train_max:	datagrams of a train, at most
 * @refused:	where to tell of a refused train; NULL: nobody asks
 * @train_len:	bytes of the last message
 * @peer_idx, @outer:	of the last message
 * @errors:	takes what the error queue of a socket says of path MTUs
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
