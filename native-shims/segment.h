/* SPDX-License-Identifier: MIT
 *
 * Splitting a superframe into its segments: interface of segment.c.
 */
#ifndef VTEPD_SEGMENT_H
#define VTEPD_SEGMENT_H

#include "shim.h"

#include <sys/uio.h>

/*
 * Maximum bytes of a header block, from the VXLAN header to the TCP options. This allows for 126
 * bytes of IPv6 extension headers.
 */
#define SEGMENT_HEADERS_MAX 256

/*
 * Maximum segments of a superframe. Each segment becomes a datagram for each peer, and a VM chooses
 * the segment size. TypeScript counts and drops superframes of more segments
 * (src/switch/frame/superframe.ts), so they do not arrive here; C checks the limit independently.
 */
#define SEGMENTS_MAX_TCP 256
#define SEGMENTS_MAX_UDP 128

/**
 * struct superframe - validated description of a superframe
 * @bytes:	datagram: VXLAN header, Ethernet … TCP or UDP header, payload
 * @headers_len:	bytes of all headers
 * @payload_len:	bytes of the payload, at least 1
 * @gso_size:	payload bytes of each segment but the last
 * @count:	segments, at most SEGMENTS_MAX_TCP or SEGMENTS_MAX_UDP
 * @ip:		offset of the IP header
 * @l4:		offset of the TCP or UDP header
 * @version:	4 or 6
 * @protocol:	IPPROTO_TCP or IPPROTO_UDP
 * @pseudo:	sum of the pseudo-header without its length
 */
struct superframe {
	const uint8_t *bytes;
	int32_t headers_len;
	int32_t payload_len;
	int32_t gso_size;
	int32_t count;
	int32_t ip;
	int32_t l4;
	uint8_t version;
	uint8_t protocol;
	uint64_t pseudo;
};

int segment_check(struct superframe *super, const uint8_t *datagram, const struct batch *batch, int32_t i);
struct iovec segment_write(const struct superframe *super, int32_t k, uint8_t *headers);

#endif
