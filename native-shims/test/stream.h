/* SPDX-License-Identifier: MIT
 *
 * Random streams as a VTEP receives them.
 *
 * The flows are interleaved. Most frames are regular; a few are altered as senders, networks and
 * attackers can alter frames.
 */
#ifndef VTEPD_TEST_STREAM_H
#define VTEPD_TEST_STREAM_H

#include "cases.h"
#include "frame.h"

#define SLOT_LEN 10240
#define FLOWS_MAX 4
#define VNIS 2

/**
 * struct flow - one flow of a stream
 * @shape:	the next segment
 * @mss:	payload bytes of a full segment
 * @id_step:	added to the IPv4 id after each segment
 * @place:	the header byte by which flows of the same shape differ (dress())
 * @number:	XORed into this byte; 0: unchanged
 */
struct flow {
	struct shape shape;
	int vni, postponed, mss, id_step;
	uint8_t place, number, tos, ttl;
	uint32_t ack, timestamp;
	uint16_t window;
};

/* One frame in `noise` is altered, on average. */
struct stream {
	struct flow flows[FLOWS_MAX];
	uint32_t flow_count, noise;
	uint32_t spoiled;
	int flow;
};

static inline void stream_begin(struct stream *stream)
{
	static const uint32_t noises[] = { 2, 6, 20, 100, 10000 };
	uint32_t mss_max = random_one_in(12) ? 8900 : random_one_in(3) ? 1400 : 200;

	*stream = (struct stream){ .flow_count = random_between(1, FLOWS_MAX), .noise = noises[random_below(5)] };
	for (uint32_t k = 0; k < stream->flow_count; k++) {
		struct flow *flow = &stream->flows[k];

		*flow = (struct flow){
			.shape = k && random_one_in(2) ? stream->flows[0].shape : random_shape(),
			.vni = random_one_in(4),
			.postponed = random_one_in(4),
			.mss = (int)random_between(1, mss_max),
			.id_step = !random_one_in(4),
			.place = (uint8_t)random_below(4),
			.number = (uint8_t)(random_one_in(4) ? 0 : k),
			.tos = 0x02,
			.ttl = 64,
			.ack = random_below(UINT32_MAX),
			.window = (uint16_t)random_below(65536),
		};
		flow->shape.options = random_one_in(12) ? flow->shape.options : 0;
		if (k && random_one_in(2))
			flow->mss = stream->flows[0].mss;
	}
}

static inline void seal_ipv4(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~sum16(ip, (size_t)(ip[0] & 15) * 4, 0));
}

/* Applies this flow's difference to headers made by build_headers(). */
static inline void dress(uint8_t *frame, const struct flow *flow, const struct shape *s)
{
	uint8_t *ip = frame + ip_at(s), *l4 = frame + l4_at(s);
	uint8_t *const places[] = { frame + 5, frame + 11, ip + (s->version == 4 ? 15 : 23), l4 + 1 };

	*places[flow->place] ^= flow->number;
	if (s->version == 4) {
		ip[1] = flow->tos;
		ip[8] = flow->ttl;
	} else {
		ip[0] = (uint8_t)(0x60 | flow->tos >> 4);
		ip[1] = (uint8_t)(flow->tos << 4 | (ip[1] & 15));
		ip[7] = flow->ttl;
	}
	if (s->protocol != IPPROTO_TCP)
		return;
	put16(l4 + 8, (uint16_t)(flow->ack >> 16));
	put16(l4 + 10, (uint16_t)flow->ack);
	put16(l4 + 14, flow->window);
	if (s->tcp_options >= 12) {
		memcpy(l4 + 20, "\1\1\x08\x0a\0\0", 6);
		put16(l4 + 26, (uint16_t)flow->timestamp);
	}
}

/* Changes the flow permanently: fields that may change between segments, loss, or repetition. */
static inline void change_flow(struct flow *flow)
{
	struct shape *s = &flow->shape;

	switch (random_below(13)) {
	case 0:
		flow->ack += random_below(3000);
		return;
	case 1:
		flow->window++;
		return;
	case 2:
		flow->ttl--;
		return;
	case 3:
		flow->tos ^= (uint8_t)(1 << random_below(8));
		return;
	case 4:
		flow->timestamp++;
		return;
	case 5:
		flow->mss = (int)random_between(1, (uint32_t)flow->mss + 8);
		return;
	case 6:
		s->id = (uint16_t)random_below(65536);
		return;
	case 7:
		s->df = !s->df;
		return;
	case 8: /* lost */
		s->sequence += (uint32_t)flow->mss;
		s->id++;
		return;
	case 9: /* repeated or overlapping */
		s->sequence -= random_one_in(2) ? (uint32_t)flow->mss : random_below((uint32_t)flow->mss + 1);
		return;
	case 10:
		s->tcp_options = (int)random_below(11) * 4;
		return;
	case 11:
		flow->postponed = !flow->postponed;
		return;
	default:
		s->sequence = 0u - random_below(2000); /* wraps soon */
	}
}

/* Changes this segment only. */
static inline void change_segment(struct shape *s, const struct flow *flow)
{
	static const uint8_t flags[] = { 0x18, 0x11, 0x19, 0x02, 0x12, 0x04, 0x14, 0x30, 0x50, 0x90, 0x00, 0x08 };

	switch (random_below(7)) {
	case 0:
		s->tcp_flags = (uint8_t)random_below(256);
		return;
	case 1:
		s->tcp_flags = flags[random_below(sizeof(flags))];
		return;
	case 2:
		s->payload_len = 0;
		return;
	case 3:
		s->payload_len = (int)random_below((uint32_t)flow->mss);
		return;
	case 4:
		s->payload_len++;
		return;
	case 5:
		s->tags = (int)random_below(3);
		return;
	default:
		s->options = 8;
	}
}

/*
 * Sets a payload for which the checksum is zero. TCP may write it as 0 or 0xffff. In UDP, 0 does
 * not count as the valid checksum, because it means "no checksum".
 */
static inline void sum_to_zero(uint8_t *frame, int len, const struct shape *s)
{
	int at = payload_at(s);

	if (s->payload_len < 2)
		return;
	put16(frame + at, 0);
	seal(frame, len, s, 0);
	put16(frame + at, (uint16_t)(frame[checksum_at(s)] << 8 | frame[checksum_at(s) + 1]));
	seal(frame, len, s, 0);
	if (random_one_in(2))
		put16(frame + checksum_at(s), 0);
}

/*
 * Alters a sealed frame as networks and attackers do; the buffer has space after the frame. Returns
 * the frame's new length.
 */
static inline int spoil(uint8_t *frame, int len, const struct shape *s)
{
	uint8_t *ip = frame + ip_at(s), *l4 = frame + l4_at(s);
	uint32_t length = (uint32_t)len;

	switch (random_below(16)) {
	case 0:
	case 1: /* any bit */
		frame[random_below(length)] ^= (uint8_t)(1 << random_below(8));
		return len;
	case 2:
		frame[payload_at(s) + (int)random_below((uint32_t)s->payload_len + 1)] ^= 0x40;
		return len;
	case 3:
		frame[checksum_at(s) + (int)random_below(2)] ^= (uint8_t)random_between(1, 255);
		return len;
	case 4:
		ip[s->version == 4 ? 10 : 6] ^= (uint8_t)random_between(1, 255);
		return len;
	case 5:
		put16(frame + checksum_at(s), 0);
		return len;
	case 6: /* a different header with a valid checksum */
		frame[random_below((uint32_t)payload_at(s))] ^= (uint8_t)(1 << random_below(8));
		seal(frame, len, s, 0);
		return len;
	case 7: /* a fragment */
		if (s->version == 4) {
			put16(ip + 6, (uint16_t)(random_one_in(2) ? 0x2000 : random_between(1, 0x1fff)));
			seal_ipv4(ip);
		} else {
			ip[6] = 44;
		}
		return len;
	case 8:
		return (int)random_below(length + 1);
	case 9: /* padding */
		memcpy(frame + len, pool, 24);
		return len + (int)random_between(1, 24);
	case 10: /* a wrong length */
		ip[s->version == 4 ? 3 : 5] ^= (uint8_t)random_between(1, 255);
		if (s->version == 4)
			seal_ipv4(ip);
		return len;
	case 11: /* another wrong length, with a matching checksum */
		if (s->protocol == IPPROTO_UDP) {
			l4[5] ^= (uint8_t)random_between(1, 255);
			put16(l4 + 6, 0);
			put16(l4 + 6, (uint16_t)~sum16(l4, (size_t)(len - l4_at(s)), pseudo16(frame, s, length - (uint32_t)l4_at(s))));
		} else {
			l4[12] ^= (uint8_t)(random_between(1, 15) << 4);
			seal(frame, len, s, 0);
		}
		return len;
	case 12:
		put16(ip - 2, (uint16_t)(random_one_in(2) ? 0x0806 : random_below(65536)));
		return len;
	case 13:
	case 14:
		sum_to_zero(frame, len, s);
		return len;
	default:
		pool_copy(frame, len);
		return len;
	}
}

/* Writes the stream's next frame into the slot of entry i. */
static inline void stream_next(struct stream *stream, struct arena arena, struct batch *batch, int i)
{
	int stays = !random_one_in(4), happens = random_one_in(stream->noise);
	struct flow *flow;
	struct shape s;
	uint8_t *frame;
	int len;

	stream->flow = stays ? stream->flow : (int)random_below(stream->flow_count);
	flow = &stream->flows[stream->flow];
	flow->shape.tcp_flags = random_one_in(24) ? 0x18 : 0x10;
	flow->shape.payload_len = flow->mss;
	if (happens && random_one_in(2))
		change_flow(flow);
	s = flow->shape;
	if (happens && random_one_in(3))
		change_segment(&s, flow);

	batch->off[i] = i * SLOT_LEN + (int)random_below(64);
	frame = arena.base + batch->off[i];
	build_headers(frame, &s);
	dress(frame, flow, &s);
	pool_copy(frame + payload_at(&s), s.payload_len);
	len = payload_at(&s) + s.payload_len;
	seal(frame, len, &s, flow->postponed);
	if (happens && random_one_in(2)) {
		len = spoil(frame, len, &s);
		stream->spoiled++;
	}
	batch->len[i] = len;
	batch->vni_idx[i] = flow->vni;
	batch->gso_type[i] = FRAME_GSO_NONE;
	batch->flags[i] = flow->postponed ? FRAME_NEEDS_CSUM : 0;
	batch->csum_start[i] = l4_at(&s);
	batch->csum_off[i] = checksum_at(&s) - l4_at(&s);
	batch->verdict[i] = happens && random_one_in(12);
	flow->shape.sequence += (uint32_t)s.payload_len;
	flow->shape.id = (uint16_t)(flow->shape.id + flow->id_step);
}

#endif
