/* SPDX-License-Identifier: MIT
 *
 * Merging is transparent.
 *
 * Random streams are written to TAPs with merging on. The output is segmented as Linux would
 * segment it, and each frame must equal the input frame, byte by byte and in order. Corruption is
 * therefore preserved.
 *
 *     stream ──► tap_write_batch ──► socket pair ──► reference (gso.h) ──► frames
 *     result: the frames equal those of the stream
 *
 * Two differences are allowed in merged frames, both harmless:
 *
 * - the IPv4 id of frames with DF: Linux rewrites this id when it segments, and RFC 6864 §4.1 gives
 *   the id no meaning. The header checksum changes with the id and must be valid in both frames
 * - a TCP checksum of zero may be written as 0xffff (RFC 1071: two forms of one number)
 *
 * The TAPs are ends of seqpacket socket pairs, which keep the boundaries of writes.
 */
#include "gso.h"
#include "stream.h"

#include <sys/uio.h>

#define ARENA_LEN (BATCH_CAP * SLOT_LEN)
#define FRAME_MAX (1 << 17)

static struct arena arena;
static struct batch batch;
static int32_t taps[VNIS];
static int fars[VNIS];

/* The next expected frame of each TAP: segment `segment` of entry `entry`. */
static struct cursor {
	int entry, segment;
} cursors[VNIS];

static struct {
	long frames, merged, writes, spoiled;
} seen;

/* The vnet header that tap_write_batch() must write for entry i when it is written alone. */
static struct virtio_net_hdr vnet_of(int i)
{
	struct virtio_net_hdr vnet = { .gso_type = (uint8_t)batch.gso_type[i], .gso_size = (uint16_t)batch.gso_size[i] };

	if (batch.flags[i]) {
		vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		vnet.csum_start = (uint16_t)batch.csum_start[i];
		vnet.csum_offset = (uint16_t)batch.csum_off[i];
	}
	return vnet;
}

/* False if the frame is too short for Ethernet or for the checksum field to be completed. */
static int is_writable(int i)
{
	return batch.len[i] >= 14 &&
	       (!batch.flags[i] || batch.csum_start[i] + batch.csum_off[i] + 2 <= batch.len[i]);
}

static int is_wanted(int i, int vni)
{
	return batch.vni_idx[i] == vni && !batch.verdict[i] && is_writable(i);
}

/*
 * Writes the next frame expected on TAP `vni`, with a complete checksum, to `frame`. Returns the
 * length of the frame; -1 at the end.
 */
static int next_wanted(uint8_t *frame, int vni, int count)
{
	struct cursor *cursor = &cursors[vni];
	const uint8_t *bytes;
	struct virtio_net_hdr vnet;
	struct whole whole;
	int len;

	while (cursor->entry < count && !is_wanted(cursor->entry, vni))
		cursor->entry++;
	if (cursor->entry == count)
		return -1;
	bytes = arena.base + batch.off[cursor->entry];
	vnet = vnet_of(cursor->entry);
	if (vnet.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		REQUIRE(gso_open(&whole, bytes, batch.len[cursor->entry], &vnet));
		len = gso_cut(frame, &whole, cursor->segment++);
		if (cursor->segment == whole.count)
			*cursor = (struct cursor){ .entry = cursor->entry + 1 };
		return len;
	}
	len = batch.len[cursor->entry++];
	memcpy(frame, bytes, (size_t)len);
	if (vnet.flags)
		gso_finish(frame, len, vnet.csum_start, vnet.csum_offset);
	return len;
}

/* Removes the allowed differences from two frames; `cut` is a segment of the superframe `whole`. */
static void forgive(uint8_t *cut, uint8_t *wanted, int wanted_len, const struct whole *whole)
{
	int ip = whole->ip, sum_at = whole->l4 + 16;

	if (wanted_len < whole->payload)
		return;
	if (whole->version == 4 && cut[ip + 6] & 0x40 && sum16(wanted + ip, 20, 0) == 0xffff &&
	    sum16(cut + ip, 20, 0) == 0xffff) {
		memcpy(cut + ip + 4, wanted + ip + 4, 2);
		memcpy(cut + ip + 10, wanted + ip + 10, 2);
	}
	if (whole->protocol == IPPROTO_TCP && get16(wanted + sum_at) == 0 && get16(cut + sum_at) == 0xffff)
		put16(wanted + sum_at, 0xffff);
}

/* True if the frame, a segment of `whole` if merged, is the next expected on this TAP. */
static int is_next(uint8_t *frame, int len, const struct whole *whole, int vni, int count)
{
	static uint8_t wanted[FRAME_MAX];
	int wanted_len = next_wanted(wanted, vni, count), at = 0;

	seen.frames++;
	if (wanted_len >= 0 && whole)
		forgive(frame, wanted, wanted_len, whole);
	if (wanted_len == len && memcmp(frame, wanted, (size_t)len) == 0)
		return 1;
	while (at < len && at < wanted_len && frame[at] == wanted[at])
		at++;
	printf("# VNI %d, entry %d: %d bytes, expected %d; first difference at byte %d\n", vni, cursors[vni].entry - 1,
	       len, wanted_len, at);
	return 0;
}

/* Segments and checks one write. */
static int check_write(uint8_t *frame, int len, const struct virtio_net_hdr *vnet, int vni, int count)
{
	static uint8_t cut[FRAME_MAX];
	struct whole whole;

	seen.writes++;
	if (vnet->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		if (vnet->flags)
			gso_finish(frame, len, vnet->csum_start, vnet->csum_offset);
		return is_next(frame, len, NULL, vni, count);
	}
	if (!CHECK(gso_open(&whole, frame, len, vnet)) || !CHECK(gso_is_sealed(&whole)) ||
	    !CHECK(whole.protocol != IPPROTO_UDP || whole.count <= 64))
		return 0;
	for (int k = 0; k < whole.count; k++)
		if (!is_next(cut, gso_cut(cut, &whole, k), &whole, vni, count))
			return 0;
	seen.merged += whole.count;
	return 1;
}

/* Checks that all writes of all TAPs are exactly those expected. */
static int check_written(int count)
{
	static uint8_t frame[FRAME_MAX];

	for (int vni = 0; vni < VNIS; vni++) {
		struct virtio_net_hdr vnet;
		struct iovec iov[] = { { &vnet, sizeof(vnet) }, { frame, sizeof(frame) } };
		int len;

		cursors[vni] = (struct cursor){ 0 };
		while ((len = (int)readv(fars[vni], iov, 2)) > 0)
			if (!check_write(frame, len - (int)sizeof(vnet), &vnet, vni, count))
				return 0;
		if (!CHECK_EQ(next_wanted(frame, vni, count), -1))
			return 0;
	}
	return 1;
}

static int check_status(int count)
{
	for (int i = 0; i < count; i++)
		if (!CHECK_EQ(batch.status[i], batch.verdict[i] || is_writable(i) ? 0 : -EINVAL))
			return 0;
	return 1;
}

/* Turns entry i into a superframe, as sent by a peer on the same host. */
static void put_superframe(int i, const struct shape *of)
{
	struct shape s = *of;
	int gso_size = (int)random_between(100, 1400);

	s.payload_len = gso_size + (int)random_between(1, 4000);
	build_headers(arena.base + batch.off[i], &s);
	pool_copy(arena.base + batch.off[i] + payload_at(&s), s.payload_len);
	seal(arena.base + batch.off[i], payload_at(&s) + s.payload_len, &s, 1);
	describe_superframe(&batch, i, batch.off[i], 0, &s, gso_size);
}

static void swap(int32_t *column, int a, int b)
{
	int32_t kept = column[a];

	column[a] = column[b];
	column[b] = kept;
}

/* Moves b before a. */
static void reorder(int a, int b)
{
	int32_t *const columns[] = { batch.off,	  batch.len,	    batch.vni_idx,  batch.gso_type, batch.gso_size,
				     batch.flags, batch.csum_start, batch.csum_off, batch.verdict };

	for (size_t k = 0; k < sizeof(columns) / sizeof(columns[0]); k++)
		swap(columns[k], a, b);
}

/* Runs a stream in batches of random size. */
static int check_case(void)
{
	static const int rare[] = { MERGE_TCP, MERGE_UDP, 0 };
	int merge = random_one_in(2) ? rare[random_below(3)] : MERGE_TCP | MERGE_UDP;
	int left = (int)random_between(1, random_one_in(6) ? 200 : 30);
	struct stream stream;
	int held = 1;

	stream_begin(&stream);
	while (left > 0 && held) {
		int count = (int)random_between(1, (uint32_t)(left < BATCH_CAP ? left : BATCH_CAP));

		for (int i = 0; i < count; i++) {
			stream_next(&stream, arena, &batch, i);
			if (random_one_in(stream.noise * 8))
				put_superframe(i, &stream.flows[stream.flow].shape);
		}
		for (int i = 1; i < count; i++)
			if (random_one_in(stream.noise * 2))
				reorder(i, (int)random_below((uint32_t)i));
		tap_write_batch(taps, VNIS, arena, &batch, count, merge, NULL);
		held = check_status(count) && check_written(count);
		left -= count;
	}
	seen.spoiled += stream.spoiled;
	return held;
}

int main(void)
{
	struct cases cases = cases_wanted();

	for (int vni = 0; vni < VNIS; vni++) {
		int pair[2];

		REQUIRE(tap_pair(pair) == 0);
		taps[vni] = pair[0];
		fars[vni] = pair[1];
	}
	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
	for (uint32_t k = 0; k < cases.count; k++) {
		case_begin(&cases, cases.first + k);
		if (!CHECK(check_case())) {
			case_failed(&cases, cases.first + k);
			return check_report();
		}
	}
	/* Merging took place, and some frames were altered. */
	CHECK(cases.count < 1000 || (seen.merged > seen.frames / 4 && seen.spoiled > seen.frames / 100));
	free(arena.base);
	printf("seed %#llx, %u streams, %ld frames (%ld spoiled) in %ld writes: ", (unsigned long long)cases.seed, cases.count,
	       seen.frames, seen.spoiled, seen.writes);
	return check_report();
}
