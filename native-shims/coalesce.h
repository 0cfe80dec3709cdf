/* SPDX-License-Identifier: MIT
 *
 * Merging the segments of one inner flow into a superframe: interface of coalesce.c.
 */
#ifndef VTEPD_COALESCE_H
#define VTEPD_COALESCE_H

#include "shim.h"

#include <sys/uio.h>

#include <linux/virtio_net.h>

/*
 * Maximum segments of a run. Linux before 6.9 accepts no more in a UDP superframe
 * (UDP_MAX_SEGMENTS).
 */
#define RUN_MAX 64

/* Ethernet, two VLAN tags, IPv6, TCP with options. */
#define RUN_HEADERS_MAX (14 + 8 + 40 + 60)

/**
 * struct segment - entry that can join a run
 * @frame:	first byte of the frame
 * @entry:	descriptor index
 * @ip:		offset of the IP header
 * @l4:		offset of the TCP or UDP header
 * @payload:	offset of the payload
 * @payload_len: at least 1
 * @version:	4 or 6
 * @protocol:	IPPROTO_TCP or IPPROTO_UDP
 * @postponed:	the checksum field holds the pseudo-header sum (FRAME_NEEDS_CSUM)
 */
struct segment {
	const uint8_t *frame;
	int32_t entry;
	int32_t vni_idx;
	int32_t ip;
	int32_t l4;
	int32_t payload;
	int32_t payload_len;
	uint8_t version;
	uint8_t protocol;
	uint8_t postponed;
};

/**
 * struct run - consecutive segments of one flow
 * @count:	segments; 0: none
 * @payload_len: total payload bytes
 * @closed:	no further segment can join
 * @psh:	PSH flag of the last segment: TCP_PSH or 0
 * @verified:	the checksums of the first segment are verified; other segments are verified
 *		before they join
 * @entries:	descriptor indices of the segments
 * @iov:	space for the caller's header block, then the payloads
 */
struct run {
	struct segment first;
	int32_t count;
	int32_t payload_len;
	int closed;
	uint8_t psh;
	int verified;
	int32_t entries[RUN_MAX];
	struct iovec iov[2 + RUN_MAX];
};

int coalesce_examine(struct segment *segment, struct arena arena, const struct batch *batch, int32_t i, int merge);
void coalesce_begin(struct run *run, const struct segment *segment);
int coalesce_append(struct run *run, const struct segment *segment);
int32_t coalesce_headers(const struct run *run, struct virtio_net_hdr *vnet, uint8_t headers[RUN_HEADERS_MAX]);

#endif
