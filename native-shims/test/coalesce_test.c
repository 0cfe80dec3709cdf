/* SPDX-License-Identifier: MIT
 *
 * Conditions for merging segments: equal headers, ends of runs, frames that are never merged.
 *
 * The number of writes of a batch shows whether its segments were merged.
 */
#include "segments.h"

/*
 * Byte in which the third of five segments differs from the others, so that the third segment is
 * written alone. `off` counts from the header `from`; the bits in `flip` are inverted.
 */
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

/* With DF the id may have any value, since the packet is never reassembled from fragments. */
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

/* A segment with PSH or a shorter one is the last of its run; a longer one starts the next. */
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

/* At most 64 segments and 65,535 bytes of IP. */
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
			for (int i = 0; i < 3; i++) /* padding after the IP packet */
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

/* Fragments are not merged, even if the TCP checksum of each is correct for its own bytes. */
static void test_fragments(void)
{
	static const uint16_t fields[] = { 0x2000, 0x2001, 0x0001 };

	for (int k = 0; k < 3; k++) {
		struct shape s = shape_of(4, IPPROTO_TCP);

		put_flow(s, 3, 0);
		for (int i = 0; i < 3; i++) {
			put16(frame_of(i) + ip_at(&s) + 6, fields[k]);
			seal(frame_of(i), batch.len[i], &s, 0);
		}
		CHECK_EQ(writes_of(3, MERGE_ALL), 3);
	}
}

/*
 * Segments with postponed checksums merge with each other if the field holds the pseudo-header sum.
 */
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
		put_flow(s, 5, 1);
		batch.csum_start[2]--;
		CHECK_EQ(writes_of(5, MERGE_ALL), 3);
	}
}

int main(void)
{
	segments_begin();
	test_what_must_agree();
	test_id();
	test_what_ends_a_run();
	test_how_much();
	test_what_never_joins();
	test_fragments();
	test_postponed();
	free(arena.base);
	return check_report();
}
