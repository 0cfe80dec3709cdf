/* SPDX-License-Identifier: MIT
 *
 * Common parts of the fuzz targets: input as a stream of numbers, oracle, poisoned memory.
 *
 * A target is a program with LLVMFuzzerTestOneInput(). Linked with libFuzzer it is fuzzed
 * (scripts/fuzz.mjs); linked with replay.c it runs its corpus (native-shims/test/run). System calls
 * of the code under test are replaced at link time (WRAP in each target: -Wl,--wrap=name), so the
 * target sees every byte that would be sent, and its input determines the kernel's answers.
 */
#ifndef VTEPD_FUZZ_H
#define VTEPD_FUZZ_H

#include "../frame.h"
#include "../gso.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A condition that must hold for every input. Aborts otherwise, like a sanitizer. */
#define ORACLE(condition)                                                                    \
	do {                                                                                   \
		if (!(condition)) {                                                              \
			fprintf(stderr, "%s:%d: oracle: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                               \
		}                                                                                \
	} while (0)

/**
 * struct input - fuzz input: decisions are read from its front, answers of the kernel from its end
 *
 * Decisions and answers are 0 when the input is exhausted; 0 always selects the plain case.
 */
struct input {
	const uint8_t *bytes;
	size_t left;
};

static struct input input;

/* Reads the next number, which has `bytes` bytes, little-endian. */
static inline uint32_t take(int bytes)
{
	uint32_t value = 0;

	for (int k = 0; k < bytes && input.left; k++, input.left--)
		value |= (uint32_t)*input.bytes++ << 8 * k;
	return value;
}

static inline uint32_t take_below(uint32_t below)
{
	return take(below > 256 ? 2 : 1) % below;
}

/* Reads the next answer of the kernel; 0: success. */
static inline uint8_t take_answer(void)
{
	return input.left ? input.bytes[--input.left] : 0;
}

static inline int answer_errno(uint8_t answer)
{
	static const int errors[] = { EINVAL, EMSGSIZE, EIO, ECONNREFUSED, EAGAIN, ENOBUFS, EPERM, EBADF };

	return errors[answer % (sizeof(errors) / sizeof(errors[0]))];
}

/*
 * Returns a value, usually invalid, for a column whose correct value is `truth`. The frame of that
 * column has len bytes.
 */
static inline int32_t take_lie(int32_t truth, int32_t len)
{
	static const int32_t lies[] = { 0, -1, INT32_MIN, INT32_MAX, 1, 255, 256, 65535, 65536, 22, 34, 54 };
	uint32_t kind = take_below(16);

	if (kind < sizeof(lies) / sizeof(lies[0]))
		return lies[kind];
	if (kind == 14)
		return (int32_t)((uint32_t)len - take_below(4));
	return kind < 14 ? (int32_t)((uint32_t)truth + (kind == 12 ? 1 : UINT32_MAX)) : (int32_t)take(4);
}

/* True for segments whose headers are checked byte by byte. Checking all headers would be slow. */
static inline int is_checked(int32_t k, int32_t count)
{
	return k < 3 || k == count - 1;
}

#define VNIS 4
#define ENTRIES_MAX BATCH_CAP
#define ENTRIES_FEW 24
#define HEADROOM 16 /* more than a VXLAN header */
#define FUZZ_ARENA_LEN (96 << 10) /* more than one superframe of 64 KB */

/*
 * Frames are built in scratch. The headroom of the first frame may begin before scratch; such bytes
 * lie in written_to and are not copied into the arena.
 */
static uint8_t written_to[HEADROOM + FUZZ_ARENA_LEN];
static uint8_t *const scratch = written_to + HEADROOM;
static struct arena arena;
static struct batch batch;
static int32_t entries;

/* Payload byte that identifies the frame's VNI and the byte's position in the frame. */
static inline uint8_t payload_byte(int vni, int at)
{
	return (uint8_t)(0x80 | vni << 5 | (at & 31));
}

static inline struct shape take_shape(void)
{
	uint32_t form = take(1), options = take(1);
	struct shape s = {
		.version = form & 1 ? 6 : 4,
		.protocol = form & 2 ? IPPROTO_UDP : IPPROTO_TCP,
		.tags = (int)(form >> 2 & 3) % 3,
		.df = form >> 4 & 1,
		.tcp_flags = form & 0x20 ? (uint8_t)take(1) : 0x10,
		.sequence = form & 0x40 ? 0xffffff00 : 1000,
		.id = form & 0x80 ? 0xfffe : 7,
		.tcp_options = (int)(options & 15) % 11 * 4,
		.payload_len = (int)take(1),
	};

	if (options >> 4)
		s.options = s.version == 4 ? (int)(options >> 4) % 11 * 4 : 8 * (int)(options >> 4);
	if (s.payload_len >= 250)
		s.payload_len = (int)take(2) & (s.payload_len == 255 ? 0xffff : 0x7ff);
	return s;
}

/*
 * Writes a frame of the shape with the payload bytes of its VNI. The input may overwrite some bytes
 * and have the IPv4 header checksum corrected afterwards, so that an invalid length, for example,
 * is the only error.
 */
static inline int32_t put_frame(uint8_t *frame, const struct shape *s, int vni, int postponed)
{
	int headers_len = build_headers(frame, s), len = headers_len + s->payload_len;
	uint32_t pokes = take_below(8);

	for (int k = headers_len; k < len; k++)
		frame[k] = payload_byte(vni, k);
	seal(frame, len, s, postponed);
	for (uint32_t k = 0; k < pokes / 2; k++) {
		uint32_t off = take_below(256);

		if ((int)off < len)
			frame[off] = (uint8_t)take(1);
	}
	if (pokes & 1 && s->version == 4) {
		uint8_t *ip = frame + ip_at(s);

		put16(ip + 10, 0);
		put16(ip + 10, (uint16_t)~sum16(ip, (size_t)(l4_at(s) - ip_at(s)), 0));
	}
	return len;
}

/* Segment length that yields few segments or a few hundred. */
static inline int take_segment_len(int payload_len)
{
	int choice = (int)take(1);

	return 1 + (choice < 128 ? payload_len / 64 + 3 * choice : payload_len / (4 * choice));
}

/* Writes bytes of the input as a frame. */
static inline int32_t put_raw(uint8_t *frame)
{
	int32_t len = (int32_t)take_below(128);

	for (int32_t k = 0; k < len; k++)
		frame[k] = (uint8_t)take(1);
	return len;
}

/*
 * Fills batch and scratch with frames of several VNIs. A frame continues the previous flow, begins
 * another, is a superframe, or consists of raw bytes of the input. Each entry includes `headroom`
 * bytes in front of its frame. Returns the bytes used.
 */
static inline int32_t take_frames(int32_t headroom, int may_postpone)
{
	struct shape s = { 0 };
	int32_t off = 0;

	memset(&batch, 0, sizeof(batch));
	entries = (int32_t)take(1);
	entries = 1 + entries % (entries < 128 ? ENTRIES_FEW : ENTRIES_MAX);
	for (int32_t i = 0; i < entries; i++) {
		uint32_t kind = i && s.version ? take(1) : take(1) | 1;
		int vni = (int)(kind >> 6), postponed = (kind & 8) != 0, is_super = (kind & 6) == 4;
		uint8_t *frame;
		int32_t len;

		if (kind & 1)
			s = take_shape();
		off = i ? (off + HEADROOM + 63) & ~63 : (int32_t)take_below(8) * 4 - HEADROOM;
		if (off + s.payload_len + 512 > FUZZ_ARENA_LEN) {
			entries = i;
			break;
		}
		frame = scratch + off + HEADROOM;
		memset(frame - VXLAN_LEN, 0, VXLAN_LEN);
		frame[-VXLAN_LEN] = 0x08;
		frame[-2] = (uint8_t)(100 + vni);
		if ((kind & 6) == 6) {
			len = put_raw(frame);
			batch.off[i] = off + HEADROOM - headroom;
			batch.len[i] = len + headroom;
		} else if (is_super) {
			len = put_frame(frame, &s, vni, 1);
			describe_superframe(&batch, i, off + HEADROOM - headroom, headroom, &s,
					    take_segment_len(s.payload_len));
		} else {
			len = put_frame(frame, &s, vni, may_postpone && postponed);
			describe_superframe(&batch, i, off + HEADROOM - headroom, headroom, &s, 0);
			batch.gso_type[i] = FRAME_GSO_NONE;
			batch.flags[i] = may_postpone && postponed ? FRAME_NEEDS_CSUM : 0;
		}
		s.sequence += (uint32_t)s.payload_len;
		s.id++;
		batch.vni_idx[i] = vni;
		batch.seg_count[i] = 1;
		batch.verdict[i] = (kind & 0x30) == 0x30;
		off += HEADROOM + len;
	}
	return off;
}

/*
 * Replaces values of some columns by invalid values. An offset is replaced only by a value outside
 * the arena, so that two entries never describe the same bytes.
 */
static inline void take_lies(void)
{
	int32_t *columns[] = { batch.len, batch.gso_size, batch.csum_start, batch.csum_off, batch.gso_type, batch.flags,
			       batch.vni_idx, batch.off };

	for (uint32_t lies = take_below(8); lies > 4; lies--) {
		uint32_t column = take_below(8);
		int32_t i = (int32_t)take_below((uint32_t)entries), lie;

		lie = take_lie(columns[column][i], batch.len[i]);
		if (columns[column] != batch.off || lie < 0 || lie > FUZZ_ARENA_LEN)
			columns[column][i] = lie;
	}
}

/*
 * Creates the arena, of `used` bytes. All bytes are poisoned, except those of entries with verdict
 * 0 and in_front bytes before each of these entries.
 */
static inline void open_arena(int32_t used, int32_t in_front)
{
	arena = (struct arena){ malloc((size_t)used + 1), (size_t)used };
	memcpy(arena.base, scratch, (size_t)used);
	ASAN_POISON_MEMORY_REGION(arena.base, (size_t)used + 1);
	for (int32_t i = 0; i < entries; i++) {
		int32_t off = batch.off[i] < in_front ? 0 : batch.off[i] - in_front;

		if (!batch.verdict[i] && arena_holds(arena, batch.off[i], batch.len[i]))
			ASAN_UNPOISON_MEMORY_REGION(arena.base + off, (size_t)(batch.off[i] + batch.len[i] - off));
	}
}

static inline void close_arena(void)
{
	ASAN_UNPOISON_MEMORY_REGION(arena.base, arena.len + 1);
	free(arena.base);
}

static inline int in_arena(const void *at)
{
	return (const uint8_t *)at >= arena.base && (const uint8_t *)at < arena.base + arena.len;
}

/**
 * struct cut - segmentation of a superframe, derived independently from its bytes and columns
 * @headers_len:	bytes of all headers, including VXLAN
 * @count:	segments
 */
struct cut {
	int32_t ip, l4, headers_len, payload_len, size, count;
	int version, is_tcp;
};

/*
 * Parses entry i: len bytes at `bytes`, beginning with the VXLAN header. l4 is an offset in them.
 */
static inline struct cut cut_of(const uint8_t *bytes, int32_t len, int32_t l4, int32_t i)
{
	struct cut cut = { .ip = VXLAN_LEN + gso_network(bytes + VXLAN_LEN, len - VXLAN_LEN), .l4 = l4,
			   .size = batch.gso_size[i] };

	ORACLE(cut.ip >= VXLAN_LEN + ETH_HLEN && cut.ip < l4 && l4 < len);
	cut.version = bytes[cut.ip] >> 4;
	ORACLE(get16(bytes + cut.ip - 2) == (cut.version == 4 ? 0x0800 : 0x86dd));
	cut.is_tcp = (batch.gso_type[i] & ~FRAME_GSO_ECN) != FRAME_GSO_UDP_L4;
	cut.headers_len = l4 + (cut.is_tcp ? (bytes[l4 + 12] >> 4) * 4 : 8);
	cut.payload_len = len - cut.headers_len;
	ORACLE(cut.size > 0 && cut.payload_len > 0);
	cut.count = (cut.payload_len + cut.size - 1) / cut.size;
	return cut;
}

/*
 * Checks that the headers of segment k equal those of the superframe except for lengths, IPv4 id,
 * checksums, TCP sequence and flags. Lengths must be those of the segment.
 */
static inline void check_headers(const struct cut *cut, const uint8_t *bytes, const uint8_t *headers, int32_t k,
				 int32_t payload_len)
{
	uint8_t own[512];
	int32_t ip = cut->ip, l4 = cut->l4, ip_len = cut->headers_len - ip + payload_len;

	ORACLE(cut->headers_len <= (int32_t)sizeof(own));
	memcpy(own, bytes, (size_t)cut->headers_len);
	if (cut->version == 4) {
		ORACLE(sum16(headers + ip, (size_t)(headers[ip] & 15) * 4, 0) == 0xffff);
		put16(own + ip + 2, (uint16_t)ip_len);
		put16(own + ip + 4, (uint16_t)(get16(own + ip + 4) + k));
		memcpy(own + ip + 10, headers + ip + 10, 2);
	} else {
		put16(own + ip + 4, (uint16_t)(ip_len - 40));
	}
	if (cut->is_tcp) {
		uint32_t sequence = (uint32_t)get16(own + l4 + 4) << 16 | get16(own + l4 + 6);

		sequence += (uint32_t)k * (uint32_t)cut->size;
		put16(own + l4 + 4, (uint16_t)(sequence >> 16));
		put16(own + l4 + 6, (uint16_t)sequence);
		own[l4 + 13] &= (uint8_t)((k ? 0x7f : 0xff) & (k < cut->count - 1 ? 0xf6 : 0xff));
		memcpy(own + l4 + 16, headers + l4 + 16, 2);
	} else {
		put16(own + l4 + 4, (uint16_t)(8 + payload_len));
		memcpy(own + l4 + 6, headers + l4 + 6, 2);
	}
	ORACLE(memcmp(own, headers, (size_t)cut->headers_len) == 0);
}

/*
 * Checks that the headers of segment k are those that Linux would write, if Linux would accept the
 * superframe. Superframes whose transport length needs more than 16 bits are not checked, because
 * the reference stores the length in 16 bits.
 */
static inline void check_segment(const uint8_t *frame, int32_t len, int32_t i, int32_t l4, const uint8_t *headers,
				 int32_t k)
{
	static uint8_t wanted[FRAME_LEN_MAX];
	struct virtio_net_hdr vnet = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = (uint8_t)batch.gso_type[i],
				       .gso_size = (uint16_t)batch.gso_size[i], .csum_start = (uint16_t)l4,
				       .csum_offset = (uint16_t)batch.csum_off[i] };
	struct whole whole;

	if (len - l4 > UINT16_MAX || !gso_open(&whole, frame, len, &vnet))
		return;
	gso_cut(wanted, &whole, k);
	ORACLE(memcmp(wanted, headers, (size_t)whole.payload) == 0);
}

#endif
