/* SPDX-License-Identifier: MIT
 *
 * Outer headers of udp_send_batch(): TOS, TTL and DF; TOS reported by udp_receive_batch().
 *
 * Covers datagrams, trains, the datagrams of a refused train, and segments, captured on lo. The MTU
 * of lo is 1,500 bytes, so larger datagrams are fragmented.
 */
#include "check.h"
#include "frame.h"
#include "net.h"

#include <limits.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>

#define SLOTS 16
#define STRIDE 66368
#define ARENA_LEN ((SLOTS + 1) * STRIDE)
#define SEND_OFF (SLOTS * STRIDE)
#define TRAIN_MAX 64
#define SOCKET_TTL 33

static struct arena arena;
static struct batch batch;
static struct path_errors errors;
static struct peer_row sources[BATCH_CAP], peer;
static int32_t fds[SEND_SOCKETS];
static int tap, receiver, ipv6;

/**
 * struct packet - an IP packet captured on lo
 * @len:	bytes of UDP payload; for a later fragment, bytes of that fragment
 * @df:		1 set, 0 clear, also for each fragment
 * @offset:	fragment offset in bytes; -1: not a fragment
 */
struct packet {
	int tos, ttl, df, offset, len, source_port;
};

static struct packet parse_ipv4(const uint8_t *ip, int len)
{
	int fragment = ip[6] << 8 | ip[7], part = fragment & 0x3fff;

	return (struct packet){ .tos = ip[1], .ttl = ip[8], .df = fragment >> 14 & 1, .len = len - 20 - (part & 0x1fff ? 0 : 8),
				.offset = part ? (part & 0x1fff) * 8 : -1, .source_port = ip[20] << 8 | ip[21] };
}

/* IPv6 has no DF bit: only the sender may fragment. */
static struct packet parse_ipv6(const uint8_t *ip, int len)
{
	int fragmented = ip[6] == 44, field = fragmented ? ip[42] << 8 | ip[43] : 0, at = fragmented ? 48 : 40;

	return (struct packet){ .tos = (ip[0] & 0xf) << 4 | ip[1] >> 4, .ttl = ip[7], .len = len - at - (field >> 3 ? 0 : 8),
				.offset = fragmented ? field & ~7 : -1, .source_port = ip[at] << 8 | ip[at + 1] };
}

static struct packet next_packet(void)
{
	static uint8_t bytes[70000];

	while (readable_within(tap, 500)) {
		struct sockaddr_ll from;
		socklen_t from_len = sizeof(from);
		int len = (int)recvfrom(tap, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &from_len);

		if (from.sll_pkttype != PACKET_OUTGOING && bytes[ipv6 ? 6 : 9] != (ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
			return ipv6 ? parse_ipv6(bytes, len) : parse_ipv4(bytes, len);
	}
	return (struct packet){ .len = -1 };
}

static void expect_packet(int tos, int len)
{
	struct packet packet = next_packet();

	CHECK_EQ(packet.len, len);
	CHECK_EQ(packet.tos, tos);
	CHECK_EQ(packet.ttl, SOCKET_TTL);
	CHECK_EQ(packet.offset, -1);
}

/* Expects one datagram as two fragments. */
static void expect_fragments(int tos, int len)
{
	struct packet first = next_packet(), second = next_packet();

	CHECK_EQ(first.offset, 0);
	CHECK_EQ(second.offset, first.len + 8);
	CHECK_EQ(first.len + second.len, len);
	CHECK_EQ(first.tos, tos);
	CHECK_EQ(second.tos, tos);
	CHECK_EQ(first.df | second.df, 0);
}

static void expect_no_packet(void)
{
	CHECK(!readable_within(tap, 20));
}

static int open_on(const char *address, int options)
{
	struct peer_row local = row_of(address, 0);
	int fd = udp_open(&local, "", options, 4 << 20, 0, SOCKET_TTL);

	REQUIRE(fd >= 0);
	return fd;
}

/* Fills entries of len bytes with DF set, for the only peer, from socket 0. */
static void fill_batch(int32_t count, int32_t len)
{
	memset(&batch, 0, sizeof(batch));
	for (int32_t i = 0; i < count; i++) {
		batch.off[i] = SEND_OFF;
		batch.len[i] = len;
	}
}

static int send_batch(int32_t count)
{
	return udp_send_batch(fds, &peer, 1, arena, &batch, count, TRAIN_MAX, NULL, NULL, &errors);
}

/*
 * Receives all datagrams and expects these TOS values and lengths; other entries of the batch must
 * be unchanged.
 */
static void expect_received(const int32_t (*wanted)[2], int32_t count)
{
	struct udp_slots slots = { STRIDE, SLOTS };

	memset(&batch, 0x55, sizeof(batch));
	CHECK_EQ(udp_receive_batch(receiver, arena, &batch, sources, slots), count);
	for (int32_t k = 0; k < count; k++) {
		CHECK_EQ(batch.tos[k], wanted[k][0]);
		CHECK_EQ(batch.len[k], wanted[k][1]);
	}
	CHECK_EQ(batch.tos[count], 0x55555555);
}

/*
 * Datagrams of different sizes form no train. Each has the outer header of its descriptor, or,
 * where this sets nothing, of its socket.
 */
static void test_each(void)
{
	static const int32_t tos[] = { 0, 0xb8, 0xb9, 0xff, 1, 0, 0, 3 };

	fill_batch(8, 0);
	for (int32_t i = 0; i < 8; i++) {
		batch.len[i] = 100 + i;
		batch.tos[i] = tos[i];
	}
	CHECK_EQ(send_batch(8), 0);
	for (int32_t i = 0; i < 8; i++)
		expect_packet(tos[i], 100 + i);
	expect_received((const int32_t[][2]){ { 0, 100 }, { 0xb8, 101 }, { 0xb9, 102 }, { 0xff, 103 }, { 1, 104 },
					      { 0, 105 }, { 0, 106 }, { 3, 107 } }, 8);
}

/*
 * Adjacent datagrams with equal outer headers form a train; a different outer header ends the
 * train.
 */
static void test_trains(void)
{
	static const int32_t tos[] = { 0, 0, 2, 2, 3, 0, 0, 0, 0, 0 };

	fill_batch(10, 100);
	memcpy(batch.tos, tos, sizeof(tos));
	CHECK_EQ(send_batch(10), 0);
	expect_packet(0, 200);
	expect_packet(2, 200);
	expect_packet(3, 100);
	expect_packet(0, 500);
	expect_no_packet();
	expect_received((const int32_t[][2]){ { 0, 200 }, { 2, 200 }, { 3, 100 }, { 0, 500 } }, 4);
}

/*
 * The df column selects the pool and thus the source port; datagrams larger than the path MTU never
 * join a train.
 */
static void test_df(void)
{
	static const int32_t df[] = { DF_SET, DF_SET, DF_CLEAR, DF_CLEAR, DF_CLEAR_TOO_BIG, DF_CLEAR_TOO_BIG, DF_CLEAR };
	static const int wanted_lens[] = { 200, 200, 100, 100, 100 };
	int set_port = port_of(fds[ipv6 * SOURCE_SOCKETS]), clear_port = port_of(fds[(2 + ipv6) * SOURCE_SOCKETS]);

	fill_batch(7, 100);
	memcpy(batch.df, df, sizeof(df));
	CHECK_EQ(send_batch(7), 0);
	for (int k = 0; k < 5; k++) {
		struct packet packet = next_packet();

		CHECK_EQ(packet.len, wanted_lens[k]);
		CHECK_EQ(packet.df, k == 0 && !ipv6);
		CHECK_EQ(packet.source_port, k == 0 ? set_port : clear_port);
	}
	expect_no_packet();
	expect_received((const int32_t[][2]){ { 0, 200 }, { 0, 200 }, { 0, 100 }, { 0, 100 }, { 0, 100 } }, 5);
}

/*
 * Datagrams larger than the path MTU are refused with DF set and fragmented with DF clear, whether
 * the df column says that they are too large or not.
 */
static void test_larger_than_path(void)
{
	fill_batch(6, 1600);
	for (int32_t i = 2; i < 6; i++) {
		batch.df[i] = i < 4 ? DF_CLEAR_TOO_BIG : DF_CLEAR; /* the last two: a refused train */
		batch.tos[i] = 0x2e;
	}
	CHECK_EQ(send_batch(6), 2);
	CHECK_EQ(batch.status[0], -EMSGSIZE);
	CHECK_EQ(batch.status[1], -EMSGSIZE);
	for (int k = 2; k < 6; k++) {
		CHECK_EQ(batch.status[k], 0);
		expect_fragments(0x2e, 1600);
	}
	expect_no_packet();
	expect_received((const int32_t[][2]){ { 0x2e, 1600 }, { 0x2e, 1600 }, { 0x2e, 1600 }, { 0x2e, 1600 } }, 4);
}

/* Each segment of a superframe has the outer header of its descriptor. */
static void test_superframe(void)
{
	struct shape s = { .version = 4, .protocol = IPPROTO_TCP, .payload_len = 3000, .df = 1, .tcp_flags = 0x18 };
	int headers_len = VXLAN_LEN + payload_at(&s);

	memset(&batch, 0, sizeof(batch));
	build_frame(arena.base + SEND_OFF + VXLAN_LEN, &s, 1);
	for (int i = 0; i < 2; i++)
		describe_superframe(&batch, i, SEND_OFF, VXLAN_LEN, &s, 1000);
	batch.df[0] = DF_CLEAR;
	batch.df[1] = DF_CLEAR_TOO_BIG;
	batch.tos[0] = batch.tos[1] = 0x88;
	CHECK_EQ(send_batch(2), 0);
	expect_packet(0x88, 3 * (1000 + headers_len));
	for (int k = 0; k < 3; k++)
		expect_packet(0x88, 1000 + headers_len);
	expect_no_packet();
	expect_received((const int32_t[][2]){ { 0x88, 3 * (1000 + headers_len) }, { 0x88, 1000 + headers_len },
					      { 0x88, 1000 + headers_len }, { 0x88, 1000 + headers_len } }, 4);
}

/*
 * A socket not opened for receiving TOS reports 0 and clears the column. Without UDP_GRO the TOS is
 * still reported.
 */
static void test_tos_reported(const char *loopback, int options, int32_t expected)
{
	int usual = receiver;
	uint16_t port = peer.port;

	receiver = open_on(loopback, options);
	peer.port = port_of(receiver);
	fill_batch(1, 100);
	batch.tos[0] = 0xb8;
	CHECK_EQ(send_batch(1), 0);
	expect_packet(0xb8, 100);
	expect_received((const int32_t[][2]){ { expected, 100 } }, 1);
	close(receiver);
	receiver = usual;
	peer.port = port;
}

/* Invalid columns and a missing pool fail; adjacent entries are sent. */
static void test_refused(void)
{
	static const int32_t invalid[][2] = {
		{ -1, 0 }, { 256, 0 }, { INT_MIN, 0 }, { 0, -1 }, { 0, 3 }, { 0, INT_MIN }, { 0, INT_MAX },
	};
	int32_t *clear = &fds[(2 + ipv6) * SOURCE_SOCKETS], usual = *clear;

	for (size_t k = 0; k <= sizeof(invalid) / sizeof(invalid[0]); k++) {
		int no_pool = k == sizeof(invalid) / sizeof(invalid[0]);

		fill_batch(3, 100);
		batch.tos[1] = no_pool ? 0 : invalid[k][0];
		batch.df[1] = no_pool ? DF_CLEAR : invalid[k][1];
		*clear = no_pool ? -1 : usual;
		CHECK_EQ(send_batch(3), 1);
		CHECK_EQ(batch.status[0], 0);
		CHECK_EQ(batch.status[1], no_pool ? -EAFNOSUPPORT : -EINVAL);
		CHECK_EQ(batch.status[2], 0);
		expect_packet(0, 200);
		expect_no_packet();
		expect_received((const int32_t[][2]){ { 0, 200 } }, 1);
	}
	*clear = usual;
}

static int open_tap(void)
{
	struct sockaddr_ll lo = { .sll_family = AF_PACKET, .sll_protocol = htons(ipv6 ? ETH_P_IPV6 : ETH_P_IP) };
	int fd = socket(AF_PACKET, SOCK_DGRAM, lo.sll_protocol);

	lo.sll_ifindex = (int)if_nametoindex("lo");
	REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&lo, sizeof(lo)) == 0);
	return fd;
}

static void test_family(const char *loopback)
{
	int32_t *set, *clear;

	ipv6 = strchr(loopback, ':') != NULL;
	memset(fds, 0xff, sizeof(fds));
	set = &fds[ipv6 * SOURCE_SOCKETS];
	clear = &fds[(2 + ipv6) * SOURCE_SOCKETS];
	*set = open_on(loopback, UDP_OPEN_RECVERR | UDP_OPEN_DF);
	*clear = open_on(loopback, UDP_OPEN_RECVERR);
	receiver = open_on(loopback, UDP_OPEN_RECEIVE);
	peer = row_of(loopback, port_of(receiver));
	tap = open_tap();
	test_each();
	test_trains();
	test_df();
	test_larger_than_path();
	test_superframe();
	test_tos_reported(loopback, 0, 0);
	test_tos_reported(loopback, UDP_OPEN_RECEIVE | UDP_OPEN_NO_GRO, 0xb8);
	test_refused();
	close(*set);
	close(*clear);
	close(receiver);
	close(tap);
}

int main(void)
{
	if (!own_network())
		SKIP("needs root");
	REQUIRE(link_mtu("lo", 1500) == 0);
	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
	test_family("127.0.0.1");
	test_family("::1");
	free(arena.base);
	return check_report();
}
