/* SPDX-License-Identifier: MIT
 *
 * Invalid descriptors.
 *
 * Each invalid descriptor gets its status, causes no access outside the arena, and does not affect
 * adjacent descriptors. The arena is a separate allocation, so that the address sanitizer detects
 * accesses beyond it. The TAP side uses a seqpacket socket pair, which keeps frame boundaries like
 * a TAP.
 */
#include "check.h"
#include "net.h"

#include <limits.h>
#include <linux/virtio_net.h>

#define ARENA_LEN 4096
#define NO_TRAINS 1

static const struct {
	int32_t off, len, status;
} outside[] = {
	{ -1, 64, -EFAULT },
	{ INT_MIN, 64, -EFAULT },
	{ 0, -1, -EFAULT },
	{ 0, INT_MIN, -EFAULT },
	{ 0, ARENA_LEN + 1, -EFAULT },
	{ ARENA_LEN, 64, -EFAULT },
	{ ARENA_LEN - 63, 64, -EFAULT },
	{ ARENA_LEN + 1, 0, -EFAULT },
	{ INT_MAX, INT_MAX, -EFAULT },
	{ INT_MAX, 64, -EFAULT },
	{ 64, INT_MAX, -EFAULT },
};

static struct batch batch;
static struct path_errors errors;

/* Entries 0 and 2 are valid; the invalid one is between them. */
static void reset_batch(int32_t len)
{
	memset(&batch, 0, sizeof(batch));
	for (int i = 0; i < 3; i++) {
		batch.off[i] = i * 64;
		batch.len[i] = len;
	}
}

static void check_send(const int32_t *fds, const struct peer_row *peers, struct arena arena, int receiver,
		       int32_t wanted)
{
	uint8_t datagram[128];

	CHECK_EQ(udp_send_batch(fds, peers, 3, arena, &batch, 3, NO_TRAINS, NULL, NULL, &errors), 1);
	CHECK_EQ(batch.status[0], 0);
	CHECK_EQ(batch.status[1], wanted);
	CHECK_EQ(batch.status[2], 0);
	CHECK_EQ(recv(receiver, datagram, sizeof(datagram), 0), 20);
	CHECK_EQ(recv(receiver, datagram, sizeof(datagram), 0), 20);
	CHECK_EQ(recv(receiver, datagram, sizeof(datagram), 0), -1);
}

static void test_send(struct arena arena)
{
	struct peer_row local = row_of("127.0.0.1", 0);
	int receiver = udp_open(&local, "", UDP_OPEN_RECEIVE, 0, 0, 0);
	int sender = udp_open(&local, "", UDP_OPEN_RECVERR, 0, 0, 0);
	struct peer_row peers[3] = { row_of("127.0.0.1", port_of(receiver)), { 0 }, { .family = 99, .port = 1 } };
	int32_t fds[SEND_SOCKETS];
	const int32_t bad_peers[] = { -1, 1, 2, 3, INT_MAX, INT_MIN };
	const int32_t bad_sockets[] = { -1, SOURCE_SOCKETS, INT_MAX, INT_MIN };

	REQUIRE(receiver >= 0 && sender >= 0);
	memset(fds, 0xff, sizeof(fds));
	fds[0] = sender;
	for (size_t k = 0; k < sizeof(outside) / sizeof(outside[0]); k++) {
		reset_batch(20);
		batch.off[1] = outside[k].off;
		batch.len[1] = outside[k].len;
		check_send(fds, peers, arena, receiver, outside[k].status);
	}
	for (size_t k = 0; k < sizeof(bad_peers) / sizeof(bad_peers[0]); k++) {
		reset_batch(20);
		batch.peer_idx[1] = bad_peers[k];
		check_send(fds, peers, arena, receiver, -EINVAL);
	}
	for (size_t k = 0; k < sizeof(bad_sockets) / sizeof(bad_sockets[0]); k++) {
		reset_batch(20);
		batch.src_port_idx[1] = bad_sockets[k];
		check_send(fds, peers, arena, receiver, -EINVAL);
	}
	peers[1] = peers[0];
	peers[1].flags = PEER_HELD;
	reset_batch(20);
	batch.peer_idx[1] = 1;
	check_send(fds, peers, arena, receiver, -ENETUNREACH);
	reset_batch(20);
	batch.src_port_idx[1] = 1; /* no such socket */
	check_send(fds, peers, arena, receiver, -EAFNOSUPPORT);
	close(receiver);
	close(sender);
}

static void check_write(int fd, int far, struct arena arena, int32_t wanted)
{
	uint8_t frame[256];

	CHECK_EQ(tap_write_batch(&fd, 1, arena, &batch, 3, 0, NULL), 1);
	CHECK_EQ(batch.status[0], 0);
	CHECK_EQ(batch.status[1], wanted);
	CHECK_EQ(batch.status[2], 0);
	CHECK_EQ(recv(far, frame, sizeof(frame), 0), 10 + 60);
	CHECK_EQ(recv(far, frame, sizeof(frame), 0), 10 + 60);
	CHECK_EQ(recv(far, frame, sizeof(frame), 0), -1);
}

static void test_write(struct arena arena)
{
	static const struct {
		int32_t flags, csum_start, csum_off, gso_type, gso_size;
	} contradictions[] = {
		{ FRAME_NEEDS_CSUM, -1, 16, 0, 0 },
		{ FRAME_NEEDS_CSUM, 34, -1, 0, 0 },
		{ FRAME_NEEDS_CSUM, 59, 0, 0, 0 },
		{ FRAME_NEEDS_CSUM, 0, 59, 0, 0 },
		{ FRAME_NEEDS_CSUM, 0x10000, 0, 0, 0 },
		{ FRAME_NEEDS_CSUM, INT_MAX, INT_MAX, 0, 0 },
		{ FRAME_NEEDS_CSUM, INT_MIN, INT_MIN, 0, 0 },
		{ FRAME_NEEDS_CSUM, 34, 16, FRAME_GSO_TCPV4, 0 },
		{ FRAME_NEEDS_CSUM, 34, 16, FRAME_GSO_TCPV4, -1 },
		{ FRAME_NEEDS_CSUM, 34, 16, FRAME_GSO_TCPV4, 0x10000 },
		{ FRAME_NEEDS_CSUM, 34, 16, 2, 1448 },
		{ FRAME_NEEDS_CSUM, 34, 16, 3, 1448 }, /* UFO: removed from Linux */
		{ FRAME_NEEDS_CSUM, 34, 16, -1, 1448 },
		{ FRAME_NEEDS_CSUM, 34, 16, 0x101, 1448 },
		{ FRAME_NEEDS_CSUM, 34, 16, 0x80, 1448 }, /* ECN without a type */
	};
	int pair[2];

	REQUIRE(tap_pair(pair) == 0);
	for (size_t k = 0; k < sizeof(outside) / sizeof(outside[0]); k++) {
		reset_batch(60);
		batch.off[1] = outside[k].off;
		batch.len[1] = outside[k].len;
		check_write(pair[0], pair[1], arena, outside[k].status);
	}
	for (size_t k = 0; k < sizeof(contradictions) / sizeof(contradictions[0]); k++) {
		reset_batch(60);
		batch.flags[1] = contradictions[k].flags;
		batch.csum_start[1] = contradictions[k].csum_start;
		batch.csum_off[1] = contradictions[k].csum_off;
		batch.gso_type[1] = contradictions[k].gso_type;
		batch.gso_size[1] = contradictions[k].gso_size;
		check_write(pair[0], pair[1], arena, -EINVAL);
	}
	for (int32_t len = 0; len < 14; len++) {
		reset_batch(60);
		batch.len[1] = len;
		check_write(pair[0], pair[1], arena, -EINVAL);
	}
	for (int32_t vni_idx = -1; vni_idx <= 1; vni_idx += 2) {
		reset_batch(60);
		batch.vni_idx[1] = vni_idx;
		check_write(pair[0], pair[1], arena, -EINVAL);
	}
	close(pair[0]);
	close(pair[1]);
}

/* The vnet header matches the columns. */
static void test_write_header(struct arena arena)
{
	struct virtio_net_hdr header;
	uint8_t frame[256];
	int pair[2];

	REQUIRE(tap_pair(pair) == 0);
	reset_batch(60);
	batch.verdict[0] = 5;
	batch.status[0] = -EIO;
	batch.flags[1] = FRAME_NEEDS_CSUM | 1 << 8; /* TypeScript's bits are not passed on */
	batch.csum_start[1] = 34;
	batch.csum_off[1] = 16;
	batch.gso_type[1] = FRAME_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN;
	batch.gso_size[1] = 1448;
	CHECK_EQ(tap_write_batch(pair, 1, arena, &batch, 2, 0, NULL), 0);
	CHECK_EQ(batch.status[0], 0); /* skipped, and the previous status is cleared */
	REQUIRE(recv(pair[1], frame, sizeof(frame), 0) == 70);
	memcpy(&header, frame, sizeof(header));
	CHECK_EQ(header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	CHECK_EQ(header.csum_start, 34);
	CHECK_EQ(header.csum_offset, 16);
	CHECK_EQ(header.gso_type, FRAME_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN);
	CHECK_EQ(header.gso_size, 1448);
	CHECK(memcmp(frame + 10, arena.base + 64, 60) == 0);
	close(pair[0]);
	close(pair[1]);
}

static void offer_frame(int fd, int32_t len)
{
	uint8_t message[10 + 512] = { 0 };

	memset(message + 10, len, (size_t)len);
	REQUIRE(send(fd, message, (size_t)(10 + len), 0) == 10 + len);
}

/*
 * Frames that are too short or too long are discarded. Each frame read has its alignment and
 * headroom. Reading stops at the end of the region.
 */
static void test_read(struct arena arena)
{
	struct tap_region region = { .off = 3, .end = 1024, .headroom = 8, .slot_len = 256 };
	const int32_t lens[] = { 0, 13, 14, 257, 256, 60, 512, 100 };
	int pair[2];

	REQUIRE(tap_pair(pair) == 0);
	for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++)
		offer_frame(pair[1], lens[k]);
	memset(&batch, 0xff, sizeof(batch));
	CHECK_EQ(tap_read_batch(pair[0], arena, &batch, 2, 7, region), 4);
	CHECK_EQ(batch.len[2], 14);
	CHECK_EQ(batch.len[3], 256);
	CHECK_EQ(batch.len[4], 60);
	CHECK_EQ(batch.len[5], 100);
	CHECK_EQ(batch.len[6], -1);
	for (int i = 2; i < 6; i++) {
		CHECK_EQ(batch.off[i] % 64, 8);
		CHECK_EQ(batch.vni_idx[i], 7);
		CHECK_EQ(batch.seg_count[i], 1);
		CHECK_EQ(batch.flags[i], 0);
		CHECK_EQ(batch.gso_size[i], 0);
		CHECK_EQ(arena.base[batch.off[i] + batch.len[i] - 1], batch.len[i] & 0xff);
		CHECK(i == 2 || batch.off[i] - 8 >= batch.off[i - 1] + batch.len[i - 1]);
	}
	/* 64, 64 + 320, … : room for three slots of 256, not four */
	for (int k = 0; k < 4; k++)
		offer_frame(pair[1], 256);
	region.off = 64;
	CHECK_EQ(tap_read_batch(pair[0], arena, &batch, 0, 0, region), 3);
	CHECK_EQ(tap_read_batch(pair[0], arena, &batch, BATCH_CAP, 0, region), 0);
	region.slot_len = INT_MAX;
	CHECK_EQ(tap_read_batch(pair[0], arena, &batch, 0, 0, region), 0);
	region.slot_len = 256;
	CHECK_EQ(tap_read_batch(pair[0], arena, &batch, 0, 0, region), 1);
	CHECK_EQ(tap_read_batch(-1, arena, &batch, 0, 0, region), -EBADF);
	close(pair[0]);
	close(pair[1]);
}

/* Offers one 60-byte frame of this value with NEEDS_CSUM, as the kernel would. */
static void offer_unfinished(int fd, int value, uint16_t start, uint16_t off, uint8_t gso_type)
{
	struct virtio_net_hdr header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = gso_type, .gso_size = 10,
					 .csum_start = start, .csum_offset = off };
	uint8_t message[sizeof(header) + 60];

	memset(message, value, sizeof(message));
	memcpy(message, &header, sizeof(header));
	REQUIRE(send(fd, message, sizeof(message), 0) == sizeof(message));
}

/* tap_read_batch() completes a checksum if its field lies in the frame, and never stores zero. */
static void test_read_unfinished(struct arena arena)
{
	static const struct {
		int value;
		uint16_t start, off;
		uint8_t gso_type;
		int32_t flags;
		uint16_t field;
	} rows[] = {
		{ 0x00, 34, 6, 0, 0, 0xffff },	    /* ~0 */
		{ 0xff, 34, 6, 0, 0, 0xffff },	    /* ~0xffff is 0, which means "no checksum" */
		{ 0x11, 58, 0, 0, 0, 0xeeee },	    /* the last two bytes */
		{ 0x11, 58, 1, 0, 0, 0x1111 },	    /* one byte beyond the end */
		{ 0x11, 60, 0, 0, 0, 0x1111 },
		{ 0x11, 0xffff, 0xffff, 0, 0, 0x1111 },
		{ 0x11, 34, 6, FRAME_GSO_UDP_L4, FRAME_NEEDS_CSUM, 0x1111 }, /* per segment, later */
	};
	struct tap_region region = { .off = 0, .end = 1024, .headroom = 8, .slot_len = 256 };
	int pair[2];

	REQUIRE(tap_pair(pair) == 0);
	for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
		int field = rows[k].start + rows[k].off;
		const uint8_t *frame;

		offer_unfinished(pair[1], rows[k].value, rows[k].start, rows[k].off, rows[k].gso_type);
		CHECK_EQ(tap_read_batch(pair[0], arena, &batch, 0, 0, region), 1);
		CHECK_EQ(batch.flags[0], rows[k].flags);
		frame = arena.base + batch.off[0];
		if (field + 2 <= 60)
			CHECK_EQ(frame[field] << 8 | frame[field + 1], rows[k].field);
		for (int at = 0; at < 60; at++)
			if (at < field || at >= field + 2)
				CHECK_EQ(frame[at], rows[k].value);
	}
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	struct arena arena = { calloc(1, ARENA_LEN), ARENA_LEN };

	for (size_t k = 0; k < ARENA_LEN; k++)
		arena.base[k] = (uint8_t)k;
	test_send(arena);
	test_write(arena);
	test_write_header(arena);
	test_read(arena);
	test_read_unfinished(arena);
	free(arena.base);
	return check_report();
}
