/* SPDX-License-Identifier: MIT
 *
 * Bytes that tap_write_batch() writes for merged segments.
 *
 * Merged segments equal the superframe they were split from, byte by byte, with the vnet header
 * that Linux requires. Corrupt segments stay corrupt, no byte beyond a truncated segment is read,
 * and each entry has the status of its write. equivalence_receive_test.c compares whole streams
 * with a reference.
 */
#include "../segment.h"
#include "segments.h"

#include <errno.h>
#include <limits.h>

#define MSS 1398

/* A superframe split by segment.c and merged again is unchanged, byte by byte. */
static void test_round_trip(void)
{
	static uint8_t super[FRAME_LEN_MAX], message[FRAME_LEN_MAX];

	for (int round = 0; round < 1000; round++) {
		struct shape s = random_shape();
		int gso_size = 1 + (int)random_below(MSS), count = 2 + (int)random_below(40);
		struct virtio_net_hdr vnet;
		struct superframe parts;

		s.options = 0;
		s.tcp_flags = random_one_in(2) ? 0x10 : 0x18;
		s.payload_len = gso_size * (count - 1) + 1 + (int)random_below((uint32_t)gso_size);
		memset(&batch, 0, sizeof(batch));
		build_frame(super + VXLAN_LEN, &s, 1);
		describe_superframe(&batch, 0, 0, VXLAN_LEN, &s, gso_size);
		REQUIRE(segment_check(&parts, super, &batch, 0) == 0 && parts.count == count);
		memset(&batch, 0, sizeof(batch));
		for (int k = 0; k < count; k++) {
			uint8_t headers[SEGMENT_HEADERS_MAX];
			struct iovec payload = segment_write(&parts, k, headers);
			int32_t inner_len = parts.headers_len - VXLAN_LEN;

			batch.off[k] = k * SLOT_LEN;
			batch.len[k] = inner_len + (int32_t)payload.iov_len;
			memcpy(frame_of(k), headers + VXLAN_LEN, (size_t)inner_len);
			memcpy(frame_of(k) + inner_len, payload.iov_base, payload.iov_len);
		}
		CHECK_EQ(write_batch(count, MERGE_ALL), 0);
		CHECK_EQ(recv(far, message, sizeof(message), 0), 10 + payload_at(&s) + s.payload_len);
		memcpy(&vnet, message, sizeof(vnet));
		CHECK_EQ(vnet.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		CHECK_EQ(vnet.gso_type, gso_type_of_shape(&s));
		CHECK_EQ(vnet.gso_size, gso_size);
		CHECK_EQ(vnet.hdr_len, payload_at(&s));
		CHECK_EQ(vnet.csum_start, l4_at(&s));
		CHECK_EQ(vnet.csum_offset, checksum_at(&s) - l4_at(&s));
		CHECK(memcmp(message + 10, super + VXLAN_LEN, (size_t)(payload_at(&s) + s.payload_len)) == 0);
		CHECK_EQ(recv(far, message, sizeof(message), 0), -1);
	}
}

/* A corrupt segment is written unchanged, between two runs of valid ones. */
static void test_corrupt(void)
{
	static const struct {
		int victim, writes;
	} rows[] = { { 0, 2 }, { 2, 3 }, { 4, 2 } };
	static uint8_t message[FRAME_LEN_MAX];

	for (int version = 4; version <= 6; version += 2)
		for (int k = 0; k < 2; k++)
			for (size_t row = 0; row < 3; row++) {
				struct shape s = shape_of(version, k ? IPPROTO_UDP : IPPROTO_TCP);
				int victim = rows[row].victim;
				const int places[] = { payload_at(&s), payload_at(&s) + 99, checksum_at(&s) + 1 };

				for (int place = 0; place < 3; place++) {
					put_flow(s, 5, 0);
					frame_of(victim)[places[place]] ^= 0x20;
					CHECK_EQ(writes_of(5, MERGE_ALL), rows[row].writes);
				}
				put_flow(s, 5, 0);
				frame_of(2)[payload_at(&s) + 7] ^= 0x20;
				CHECK_EQ(write_batch(5, MERGE_ALL), 0);
				recv(far, message, sizeof(message), 0);
				CHECK_EQ(recv(far, message, sizeof(message), 0), 10 + batch.len[2]);
				CHECK(memcmp(message + 10, frame_of(2), (size_t)batch.len[2]) == 0);
				CHECK_EQ(take_writes(), 1);
			}
	put_flow(shape_of(4, IPPROTO_TCP), 5, 0);
	frame_of(2)[14 + 10] ^= 1; /* IPv4 header checksum */
	CHECK_EQ(writes_of(5, MERGE_ALL), 3);
}

/*
 * Tests every truncation of a frame. The frame lies at the end of the arena, after the segment that
 * the frame continues.
 */
static void test_truncated(void)
{
	for (int round = 0; round < 40; round++) {
		struct shape s = random_shape();
		struct arena exact;

		s.payload_len = 20;
		s.tcp_flags = 0x10;
		put_flow(s, 2, 0);
		for (int len = 0; len < batch.len[1]; len++) {
			int whole = batch.len[0];

			exact = (struct arena){ malloc((size_t)(whole + len)), (size_t)(whole + len) };
			memcpy(exact.base, frame_of(0), (size_t)whole);
			memcpy(exact.base + whole, arena.base + SLOT_LEN, (size_t)len);
			batch.len[1] = len;
			batch.off[1] = whole;
			CHECK_EQ(tap_write_batch(&tap, 1, exact, &batch, 2, MERGE_ALL, NULL), len < 14);
			CHECK_EQ(batch.status[1], len < 14 ? -EINVAL : 0);
			CHECK_EQ(take_writes(), 1 + (len >= 14));
			put_flow(s, 2, 0);
			free(exact.base);
		}
	}
}

/* Entries of a run share its status; invalid descriptors do not affect adjacent ones. */
static void test_status(void)
{
	struct shape s = shape_of(4, IPPROTO_TCP);
	const int32_t fds[] = { tap, -1 };

	put_flow(s, 6, 0);
	for (int i = 2; i < 4; i++)
		batch.vni_idx[i] = 1;
	for (int i = 4; i < 6; i++)
		batch.vni_idx[i] = 2;
	CHECK_EQ(tap_write_batch(fds, 2, arena, &batch, 6, MERGE_ALL, NULL), 4);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(batch.status[i], i < 2 ? 0 : i < 4 ? -EBADF : -EINVAL);
	CHECK_EQ(take_writes(), 1);
	put_flow(s, 6, 0);
	batch.off[2] = ARENA_LEN - 20;
	batch.off[3] = INT_MIN;
	batch.verdict[4] = 7;
	batch.status[4] = -EIO;
	CHECK_EQ(tap_write_batch(fds, 2, arena, &batch, 6, MERGE_ALL, NULL), 2);
	CHECK_EQ(batch.status[2], -EFAULT);
	CHECK_EQ(batch.status[3], -EFAULT);
	CHECK_EQ(batch.status[4], 0);
	CHECK_EQ(take_writes(), 2);
}

int main(void)
{
	segments_begin();
	test_round_trip();
	test_corrupt();
	test_truncated();
	test_status();
	free(arena.base);
	return check_report();
}
