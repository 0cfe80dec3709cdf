/* SPDX-License-Identifier: MIT
 *
 * Builder of inner frames of every shape that the offloads handle.
 *
 * Headers are built from scratch and summed a byte at a time: Ethernet with tags, IPv4 with
 * options, IPv6 with an extension header, TCP with options, UDP.
 */
#ifndef VTEPD_TEST_FRAME_H
#define VTEPD_TEST_FRAME_H

#include "../shim.h"
#include "net.h"
#include "random.h"

#include <netinet/in.h>

#define FRAME_LEN_MAX 65600

/**
 * struct shape - headers and payload length of a frame
 * @tags:	VLAN tags, 0 … 2
 * @options:	bytes of IPv4 options, a multiple of 4, or of an IPv6 extension header, a multiple
 *		of 8
 * @tcp_options: bytes, a multiple of 4
 * @df:		DF bit of IPv4
 */
struct shape {
	int version, protocol, tags, options, tcp_options, payload_len, df;
	uint8_t tcp_flags;
	uint32_t sequence;
	uint16_t id;
};

static inline int ip_at(const struct shape *s)
{
	return 14 + 4 * s->tags;
}

static inline int l4_at(const struct shape *s)
{
	return ip_at(s) + (s->version == 4 ? 20 : 40) + s->options;
}

static inline int payload_at(const struct shape *s)
{
	return l4_at(s) + (s->protocol == IPPROTO_UDP ? 8 : 20 + s->tcp_options);
}

static inline int checksum_at(const struct shape *s)
{
	return l4_at(s) + (s->protocol == IPPROTO_UDP ? 6 : 16);
}

/* Sum of the pseudo-header, folded. */
static inline uint16_t pseudo16(const uint8_t *frame, const struct shape *s, uint32_t l4_len)
{
	const uint8_t *ip = frame + ip_at(s);

	return s->version == 4 ? sum16(ip + 12, 8, (uint32_t)s->protocol + l4_len) :
				 sum16(ip + 8, 32, (uint32_t)s->protocol + l4_len);
}

/* Sets lengths and checksums for a frame of len bytes. */
static inline void seal(uint8_t *frame, int len, const struct shape *s, int postponed)
{
	uint8_t *ip = frame + ip_at(s), *field = frame + checksum_at(s);
	int l4 = l4_at(s);
	uint16_t sum;

	if (s->version == 4) {
		put16(ip + 2, (uint16_t)(len - ip_at(s)));
		put16(ip + 10, 0);
		put16(ip + 10, (uint16_t)~sum16(ip, (size_t)(l4 - ip_at(s)), 0));
	} else {
		put16(ip + 4, (uint16_t)(len - ip_at(s) - 40));
	}
	if (s->protocol == IPPROTO_UDP)
		put16(frame + l4 + 4, (uint16_t)(len - l4));
	put16(field, 0);
	sum = pseudo16(frame, s, (uint32_t)(len - l4));
	if (!postponed) {
		sum = (uint16_t)~sum16(frame + l4, (size_t)(len - l4), sum);
		sum = sum ? sum : 0xffff;
	}
	put16(field, sum);
}

/*
 * Builds the headers of the shape with fixed addresses and ports. Returns the offset of the
 * payload.
 */
static inline int build_headers(uint8_t *frame, const struct shape *s)
{
	int ip = ip_at(s), l4 = l4_at(s);

	memset(frame, 0, (size_t)payload_at(s));
	memcpy(frame, "\x02\0\0\0\0\x02\x02\0\0\0\0\x01", 12);
	for (int tag = 0; tag < s->tags; tag++) {
		put16(frame + 12 + 4 * tag, tag < s->tags - 1 ? 0x88a8 : 0x8100);
		put16(frame + 14 + 4 * tag, (uint16_t)(0x2000 + 100 + tag));
	}
	put16(frame + ip - 2, s->version == 4 ? 0x0800 : 0x86dd);
	if (s->version == 4) {
		frame[ip] = (uint8_t)(0x40 | (20 + s->options) / 4);
		frame[ip + 1] = 0x28;
		put16(frame + ip + 4, s->id);
		put16(frame + ip + 6, s->df ? 0x4000 : 0);
		frame[ip + 8] = 63;
		frame[ip + 9] = (uint8_t)s->protocol;
		memcpy(frame + ip + 12, "\x0a\0\0\x02\x0a\0\0\x01", 8);
		memset(frame + ip + 20, 1, (size_t)s->options); /* NOPs */
	} else {
		memcpy(frame + ip, "\x62\x80\x12\x34", 4);
		frame[ip + 6] = s->options ? 0 : (uint8_t)s->protocol;
		frame[ip + 7] = 63;
		memcpy(frame + ip + 8, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 32);
		if (s->options) {
			frame[ip + 40] = (uint8_t)s->protocol;
			frame[ip + 41] = (uint8_t)(s->options / 8 - 1);
			frame[ip + 42] = 1; /* PadN to the end */
			frame[ip + 43] = (uint8_t)(s->options - 4);
		}
	}
	put16(frame + l4, 40000);
	put16(frame + l4 + 2, 5001);
	if (s->protocol == IPPROTO_TCP) {
		put16(frame + l4 + 4, (uint16_t)(s->sequence >> 16));
		put16(frame + l4 + 6, (uint16_t)s->sequence);
		memcpy(frame + l4 + 8, "\x12\x34\x56\x78", 4);
		frame[l4 + 12] = (uint8_t)((20 + s->tcp_options) / 4 << 4);
		frame[l4 + 13] = s->tcp_flags;
		put16(frame + l4 + 14, 512);
		memset(frame + l4 + 20, 1, (size_t)s->tcp_options);
	}
	return payload_at(s);
}

/* Builds a frame with random payload. Returns its length. */
static inline int build_frame(uint8_t *frame, const struct shape *s, int postponed)
{
	int headers_len = build_headers(frame, s);

	random_fill(frame + headers_len, (size_t)s->payload_len);
	seal(frame, headers_len + s->payload_len, s, postponed);
	return headers_len + s->payload_len;
}

/* Builds the k-th segment of a superframe as a separate frame. Returns its length. */
static inline int reference_segment(uint8_t *segment, const uint8_t *super, const struct shape *s, int gso_size, int k)
{
	int headers_len = payload_at(s), left = s->payload_len - k * gso_size;
	int payload_len = left < gso_size ? left : gso_size;
	struct shape own = *s;

	own.sequence += (uint32_t)(k * gso_size);
	own.id = (uint16_t)(own.id + k);
	if (k > 0)
		own.tcp_flags &= 0x7f; /* CWR */
	if (left > gso_size)
		own.tcp_flags &= (uint8_t)~0x09; /* FIN, PSH */
	build_headers(segment, &own);
	memcpy(segment + headers_len, super + headers_len + k * gso_size, (size_t)payload_len);
	seal(segment, headers_len + payload_len, &own, 0);
	return headers_len + payload_len;
}

static inline struct shape random_shape(void)
{
	struct shape s = {
		.version = random_one_in(2) ? 4 : 6,
		.protocol = random_one_in(3) ? IPPROTO_UDP : IPPROTO_TCP,
		.tags = random_one_in(3) ? (int)random_below(3) : 0,
		.tcp_options = random_one_in(2) ? 12 : (int)random_below(11) * 4,
		.df = (int)random_below(2),
		.tcp_flags = (uint8_t)(0x10 | random_below(256)),
		.sequence = random_one_in(4) ? 0xffffff00 : random_below(UINT32_MAX),
		.id = (uint16_t)(random_one_in(4) ? 0xfffe : random_below(65536)),
	};

	if (random_one_in(4))
		s.options = s.version == 4 ? (int)random_below(11) * 4 : 8 * (1 + (int)random_below(4));
	return s;
}

static inline int32_t gso_type_of_shape(const struct shape *s)
{
	if (s->protocol == IPPROTO_UDP)
		return FRAME_GSO_UDP_L4;
	return s->version == 4 ? FRAME_GSO_TCPV4 : FRAME_GSO_TCPV6;
}

/*
 * Fills the columns of entry i for a superframe of this shape whose bytes, with `headroom` in
 * front, begin at off.
 */
static inline void describe_superframe(struct batch *batch, int i, int off, int headroom, const struct shape *s,
				       int gso_size)
{
	batch->off[i] = off;
	batch->len[i] = headroom + payload_at(s) + s->payload_len;
	batch->gso_type[i] = gso_type_of_shape(s);
	batch->gso_size[i] = gso_size;
	batch->flags[i] = FRAME_NEEDS_CSUM;
	batch->csum_start[i] = headroom + l4_at(s);
	batch->csum_off[i] = checksum_at(s) - l4_at(s);
}

#endif
