/* SPDX-License-Identifier: MIT
 *
 * Segments that are written as superframes: which join and what ends a run, that a superframe falls apart
 * into the very frames it was made of, and that what is corrupt stays so. The TAP is one end of a seqpacket
 * socket pair, which keeps the boundaries of writes; the other end reads them.
 */
#include "../coalesce.h"
#include "../segment.h"
#include "check.h"
#include "frame.h"

#include <errno.h>
#include <limits.h>

#define SLOT_LEN 2048
#define ARENA_LEN (BATCH_CAP * SLOT_LEN)
#define MERGE_ALL (MERGE_TCP | MERGE_UDP)
#define MSS 1398
#define ROUNDS 4000

static struct arena arena;
static struct batch batch;
static int tap, far;

static uint8_t *frame_of(int i)
{
	return arena.base + batch.off[i];
}

/* Puts a frame of the shape into entry i. */
static void put(int i, const struct shape *s, int postponed)
{
	batch.off[i] = i * SLOT_LEN;
	batch.len[i] = build_frame(arena.base + batch.off[i], s, postponed);
	batch.vni_idx[i] = 0;
	batch.flags[i] = postponed ? FRAME_NEEDS_CSUM : 0;
	batch.csum_start[i] = l4_at(s);
	batch.csum_off[i] = checksum_at(s) - l4_at(s);
	batch.gso_type[i] = FRAME_GSO_NONE;
	batch.verdict[i] = 0;
}

/* What the flow of a shape sends next. */
static void advance(struct shape *s)
{
	s->sequence += (uint32_t)s->payload_len;
	s->id++;
}

/* The next segments of one flow in entries 0 … count - 1. */
static void put_flow(struct shape s, int count, int postponed)
{
	memset(&batch, 0, sizeof(batch));
	for (int i = 0; i < count; i++, advance(&s))
		put(i, &s, postponed);
}

static int write_batch(int count, int merge)
{
	return tap_write_batch(&tap, 1, arena, &batch, count, merge, NULL);
}

/* Writes the batch and returns how many writes it took. */
static int writes_of(int count, int merge)
{
	static uint8_t message[FRAME_LEN_MAX + 10];
	int messages = 0;

	CHECK_EQ(write_batch(count, merge), 0);
	for (int i = 0; i < count; i++)
		CHECK_EQ(batch.status[i], 0);
	while (recv(far, message, sizeof(message), 0) > 0)
		messages++;
	return messages;
}

static struct shape shape_of(int version, int protocol)
{
	return (struct shape){ .version = version, .protocol = protocol, .tcp_options = 12, .payload_len = 100,
			       .tcp_flags = 0x10, .sequence = 0xffffff80, .id = 0xfffe };
}

/* One byte of the third of five segments is another: it travels alone. Where it counts from and what flips. */
struct difference {
	const char *what;
	enum { FROM_START, FROM_IP, FROM_L4 } from;
	int off;
	uint8_t flip;
};

static void check_differences(const struct shape *s, const struct difference *differences, size_t count)
{
	for (size_t k = 0; k < count; k++) {
		const struct difference *d = &differences[k];
		int at = d->off + (d->from == FROM_IP ? ip_at(s) : d->from == FROM_L4 ? l4_at(s) : 0);

		put_flow(*s, 5, 0);
		frame_of(2)[at] ^= d->flip;
		seal(frame_of(2), batch.len[2], s, 0);
		if (!CHECK_EQ(writes_of(5, MERGE_ALL), 3))
			printf("# IPv%d, protocol %d: %s\n", s->version, s->protocol, d->what);
	}
}

static const struct difference of_frame[] = {
	{ "destination MAC", FROM_START, 5, 1 },
	{ "source MAC", FROM_START, 11, 1 },
	{ "VLAN id", FROM_START, 15, 1 },
	{ "VLAN priority", FROM_START, 14, 0x80 },
};
static const struct difference of_ipv4[] = {
	{ "ECN", FROM_IP, 1, 0x01 },      { "DSCP", FROM_IP, 1, 0x10 },
	{ "id", FROM_IP, 5, 0x08 },	  { "DF", FROM_IP, 6, 0x40 },
	{ "more fragments", FROM_IP, 6, 0x20 }, { "offset", FROM_IP, 7, 1 },
	{ "TTL", FROM_IP, 8, 1 },	  { "source", FROM_IP, 15, 1 },
	{ "destination", FROM_IP, 19, 4 },
};
static const struct difference of_ipv6[] = {
	{ "traffic class", FROM_IP, 1, 0x10 }, { "flow label", FROM_IP, 3, 1 },
	{ "hop limit", FROM_IP, 7, 1 },	       { "source", FROM_IP, 23, 1 },
	{ "destination", FROM_IP, 39, 4 },
};
static const struct difference of_tcp[] = {
	{ "source port", FROM_L4, 1, 1 },   { "destination port", FROM_L4, 3, 1 },
	{ "a gap", FROM_L4, 6, 1 },	    { "acknowledgement", FROM_L4, 11, 1 },
	{ "reserved bit", FROM_L4, 12, 1 }, { "FIN", FROM_L4, 13, 0x01 },
	{ "SYN", FROM_L4, 13, 0x02 },	    { "RST", FROM_L4, 13, 0x04 },
	{ "no ACK", FROM_L4, 13, 0x10 },    { "URG", FROM_L4, 13, 0x20 },
	{ "ECE", FROM_L4, 13, 0x40 },	    { "CWR", FROM_L4, 13, 0x80 },
	{ "window", FROM_L4, 15, 1 },	    { "urgent pointer", FROM_L4, 19, 1 },
	{ "an option", FROM_L4, 31, 1 },
};
static const struct difference of_udp[] = {
	{ "source port", FROM_L4, 1, 1 },
	{ "destination port", FROM_L4, 3, 1 },
};
#define CHECK_DIFFERENCES(shape, list) check_differences(shape, list, sizeof(list) / sizeof((list)[0]))

static void test_what_must_agree(void)
{
	for (int version = 4; version <= 6; version += 2)
		for (int k = 0; k < 2; k++) {
			struct shape s = shape_of(version, k ? IPPROTO_UDP : IPPROTO_TCP);

			put_flow(s, 5, 0);
			CHECK_EQ(writes_of(5, MERGE_ALL), 1);
			if (version == 4)
				CHECK_DIFFERENCES(&s, of_ipv4);
			else
				CHECK_DIFFERENCES(&s, of_ipv6);
			if (k)
				CHECK_DIFFERENCES(&s, of_udp);
			else
				CHECK_DIFFERENCES(&s, of_tcp);
			s.tags = 1;
			CHECK_DIFFERENCES(&s, of_frame);
			s.tags = 2;
			CHECK_DIFFERENCES(&s, of_frame);
		}
}

/* The id may be any where DF is set: the packet will never be put together from fragments. */
static void test_id(void)
{
	struct shape s = shape_of(4, IPPROTO_TCP);

	for (s.df = 0; s.df < 2; s.df++) {
		put_flow(s, 3, 0);
		put16(frame_of(1) + 14 + 4, 99);
		seal(frame_of(1), batch.len[1], &s, 0);
		CHECK_EQ(writes_of(3, MERGE_ALL), s.df ? 1 : 3);
	}
}

/* PSH or a shorter segment is the last of its run; a longer one is the first of the next. */
static void test_what_ends_a_run(void)
{
	for (int k = 0; k < 3; k++) {
		struct shape s = shape_of(4, IPPROTO_TCP);

		memset(&batch, 0, sizeof(batch));
		for (int i = 0; i < 6; i++) {
			s.payload_len = i == 2 && k == 1 ? 99 : i == 2 && k == 2 ? 101 : 100;
			s.tcp_flags = i == 2 && k == 0 ? 0x18 : 0x10;
			put(i, &s, 0);
			advance(&s);
		}
		CHECK_EQ(writes_of(6, MERGE_ALL), k == 2 ? 3 : 2);
	}
}

/* 64 segments at most, 65,535 bytes of IP at most. */
static void test_how_much(void)
{
	struct shape s = shape_of(4, IPPROTO_UDP);

	s.payload_len = 10;
	put_flow(s, 70, 0);
	CHECK_EQ(writes_of(64, MERGE_ALL), 1);
	CHECK_EQ(writes_of(70, MERGE_ALL), 2);
	s = shape_of(6, IPPROTO_TCP);
	s.payload_len = 1448; /* 45 of them and 72 bytes of headers are 65,232 */
	put_flow(s, 46, 0);
	CHECK_EQ(writes_of(45, MERGE_ALL), 1);
	CHECK_EQ(writes_of(46, MERGE_ALL), 2);
}

static void check_apart(struct shape s)
{
	put_flow(s, 3, 0);
	CHECK_EQ(writes_of(3, MERGE_ALL), 3);
}

static void test_what_never_joins(void)
{
	for (int version = 4; version <= 6; version += 2)
		for (int k = 0; k < 2; k++) {
			struct shape s = shape_of(version, k ? IPPROTO_UDP : IPPROTO_TCP);

			s.options = 8;
			check_apart(s);
			s.options = 0;
			s.payload_len = 0;
			check_apart(s);
			s.payload_len = 100;
			put_flow(s, 3, 0);
			CHECK_EQ(writes_of(3, k ? MERGE_TCP : MERGE_UDP), 3);
			CHECK_EQ(writes_of(3, 0), 3);
			put_flow(s, 3, 0);
			for (int i = 0; i < 3; i++) /* padded behind the IP packet */
				batch.len[i] += 2;
			CHECK_EQ(writes_of(3, MERGE_ALL), 3);
			put_flow(s, 3, 0);
			for (int i = 0; i < 3 && k; i++)
				put16(frame_of(i) + checksum_at(&s), 0); /* UDP without a checksum */
			CHECK_EQ(writes_of(3, MERGE_ALL), k ? 3 : 1);
			put_flow(s, 3, 0);
			for (int i = 0; i < 3; i++)
				batch.gso_type[i] = gso_type_of_shape(&s), batch.gso_size[i] = 50;
			CHECK_EQ(writes_of(3, MERGE_ALL), 3);
		}
}

/* Postponed ones join their kind, if what stands in the field is what it should be. */
static void test_postponed(void)
{
	for (int version = 4; version <= 6; version += 2) {
		struct shape s = shape_of(version, IPPROTO_TCP);

		put_flow(s, 5, 1);
		CHECK_EQ(writes_of(5, MERGE_ALL), 1);
		put_flow(s, 5, 1);
		frame_of(2)[checksum_at(&s)] ^= 1;
		CHECK_EQ(writes_of(5, MERGE_ALL), 3);
		put_flow(s, 5, 1);
		batch.flags[2] = 0;
		seal(frame_of(2), batch.len[2], &s, 0);
		CHECK_EQ(writes_of(5, MERGE_ALL), 3);
		put_flow(s, 5, 1);
		batch.csum_off[2] = 6;
		CHECK_EQ(writes_of(5, MERGE_ALL), 3);
	}
}

/* A corrupt segment is written as it came, between two runs of sound ones. */
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
				while (recv(far, message, sizeof(message), 0) > 0)
					;
			}
	put_flow(shape_of(4, IPPROTO_TCP), 5, 0);
	frame_of(2)[14 + 10] ^= 1; /* IPv4 header checksum */
	CHECK_EQ(writes_of(5, MERGE_ALL), 3);
}

/* Split by segment.c and merged again, a superframe is what it was, byte by byte. */
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

/* What the kernel does with NEEDS_CSUM. */
static void finish(uint8_t *frame, int len, int start, int off)
{
	uint16_t sum = (uint16_t)~sum16(frame + start, (size_t)(len - start), 0);

	put16(frame + start + off, sum ? sum : 0xffff);
}

/* A frame as it would reach a VM, and whether the kernel may have chosen its IPv4 id. */
struct seen {
	int len, cut;
	uint8_t bytes[SLOT_LEN];
};
static struct seen wanted[BATCH_CAP], found[BATCH_CAP];

static int same_seen(struct seen *a, struct seen *b)
{
	size_t ip = 14;

	for (int tags = 0; tags < 2 && a->bytes[ip - 2] != 0x08 && a->bytes[ip - 2] != 0x86; tags++)
		ip += 4;
	if (b->cut && a->bytes[ip - 2] == 0x08 && a->bytes[ip + 6] & 0x40) {
		memset(a->bytes + ip + 4, 0, 2);
		memset(b->bytes + ip + 4, 0, 2);
		memset(a->bytes + ip + 10, 0, 2);
		memset(b->bytes + ip + 10, 0, 2);
	}
	return a->len == b->len && memcmp(a->bytes, b->bytes, (size_t)a->len) == 0;
}

/* Reads what was written and cuts superframes up. Returns frames. */
static int read_seen(void)
{
	static uint8_t message[VXLAN_LEN + FRAME_LEN_MAX];
	static struct batch columns;
	int count = 0;

	for (;;) {
		struct virtio_net_hdr vnet;
		struct iovec iov[] = { { &vnet, sizeof(vnet) }, { message + VXLAN_LEN, FRAME_LEN_MAX } };
		int len = (int)readv(far, iov, 2) - (int)sizeof(vnet);
		struct superframe super;

		if (len < 0)
			return count;
		columns.len[0] = VXLAN_LEN + len;
		columns.gso_type[0] = vnet.gso_type;
		columns.gso_size[0] = vnet.gso_size;
		columns.flags[0] = vnet.flags;
		columns.csum_start[0] = VXLAN_LEN + vnet.csum_start;
		if (vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
			if (vnet.flags)
				finish(message + VXLAN_LEN, len, vnet.csum_start, vnet.csum_offset);
			found[count] = (struct seen){ .len = len };
			memcpy(found[count++].bytes, message + VXLAN_LEN, (size_t)len);
			continue;
		}
		REQUIRE(segment_check(&super, message, &columns, 0) == 0);
		for (int k = 0; k < super.count && count < BATCH_CAP; k++) {
			uint8_t headers[SEGMENT_HEADERS_MAX];
			struct iovec payload = segment_write(&super, k, headers);
			int inner_len = super.headers_len - VXLAN_LEN;

			found[count] = (struct seen){ .len = inner_len + (int)payload.iov_len, .cut = 1 };
			memcpy(found[count].bytes, headers + VXLAN_LEN, (size_t)inner_len);
			memcpy(found[count++].bytes + inner_len, payload.iov_base, payload.iov_len);
		}
	}
}

/* A batch of three flows that mostly behave, with anything that networks do to frames. Returns its length. */
static int random_batch(void)
{
	struct shape flows[3] = { random_shape(), random_shape(), random_shape() };
	int postponed[3] = { random_one_in(4), random_one_in(4), 0 }, count = 2 + (int)random_below(60), flow = 0;

	memset(&batch, 0, sizeof(batch));
	for (int k = 0; k < 3; k++) {
		flows[k].options = random_one_in(8) ? flows[k].options : 0;
		flows[k].payload_len = 1 + (int)random_below(random_one_in(2) ? 40 : 1400);
	}
	for (int i = 0; i < count; i++) {
		struct shape s;

		flow = random_one_in(12) ? (int)random_below(3) : flow;
		flows[flow].tcp_flags = random_one_in(12) ? (uint8_t)random_below(256) : random_one_in(12) ? 0x18 : 0x10;
		s = flows[flow];
		if (random_one_in(16))
			s.payload_len = (int)random_below(1400);
		put(i, &s, postponed[flow]);
		if (!random_one_in(16)) /* else it comes twice, or overtakes */
			advance(&flows[flow]);
		if (random_one_in(16)) /* lost */
			advance(&flows[flow]);
		if (random_one_in(16)) {
			frame_of(i)[random_below((uint32_t)payload_at(&s))] ^= (uint8_t)(1 << random_below(8));
			if (random_one_in(2))
				seal(frame_of(i), batch.len[i], &s, postponed[flow]);
		}
		if (random_one_in(16))
			frame_of(i)[random_below((uint32_t)batch.len[i])] ^= (uint8_t)(1 + random_below(255));
		batch.verdict[i] = random_one_in(24);
	}
	return count;
}

/* Whatever is written, a VM sees each frame as it would without merging, in the same order. */
static void test_equivalence(void)
{
	int merged = 0;

	for (int round = 0; round < ROUNDS; round++) {
		int count = random_batch(), wanted_count = 0, found_count;

		for (int i = 0; i < count; i++) {
			struct seen *seen = &wanted[wanted_count];

			if (batch.verdict[i])
				continue;
			*seen = (struct seen){ .len = batch.len[i] };
			memcpy(seen->bytes, frame_of(i), (size_t)batch.len[i]);
			if (batch.flags[i])
				finish(seen->bytes, seen->len, batch.csum_start[i], batch.csum_off[i]);
			wanted_count++;
		}
		CHECK_EQ(write_batch(count, MERGE_ALL), 0);
		found_count = read_seen();
		if (!CHECK_EQ(found_count, wanted_count))
			return;
		for (int i = 0; i < found_count; i++) {
			merged += found[i].cut;
			if (!same_seen(&wanted[i], &found[i])) {
				printf("# round %d, frame %d of %d\n", round, i, found_count);
				CHECK(0);
				return;
			}
		}
	}
	CHECK(merged > ROUNDS * 5); /* it did merge */
}

/* Each truncation of a frame, its last byte the last of the arena, behind a frame that it would follow. */
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
			CHECK_EQ(read_seen(), 1 + (len >= 14));
			put_flow(s, 2, 0);
			free(exact.base);
		}
	}
}

/* Entries of a run share its fate; descriptors that lie cost their neighbours nothing. */
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
	CHECK_EQ(read_seen(), 2);
	put_flow(s, 6, 0);
	batch.off[2] = ARENA_LEN - 20;
	batch.off[3] = INT_MIN;
	batch.verdict[4] = 7;
	batch.status[4] = -EIO;
	CHECK_EQ(tap_write_batch(fds, 2, arena, &batch, 6, MERGE_ALL, NULL), 2);
	CHECK_EQ(batch.status[2], -EFAULT);
	CHECK_EQ(batch.status[3], -EFAULT);
	CHECK_EQ(batch.status[4], 0);
	CHECK_EQ(read_seen(), 3);
}

int main(void)
{
	int pair[2], len = 8 << 20;

	REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) == 0);
	tap = pair[0];
	far = pair[1];
	if (setsockopt(tap, SOL_SOCKET, SO_SNDBUFFORCE, &len, sizeof(len)))
		setsockopt(tap, SOL_SOCKET, SO_SNDBUF, &len, sizeof(len));
	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
	test_what_must_agree();
	test_id();
	test_what_ends_a_run();
	test_how_much();
	test_what_never_joins();
	test_postponed();
	test_corrupt();
	test_round_trip();
	test_equivalence();
	test_truncated();
	test_status();
	free(arena.base);
	return check_report();
}
