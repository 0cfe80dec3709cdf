/* SPDX-License-Identifier: MIT
 *
 * Splitting is transparent.
 *
 * Random superframes and plain frames go through udp_send_batch() to sockets on loopback. Each
 * receiver must get exactly the datagrams of frame-by-frame sending, byte by byte, in the same
 * order per flow. The superframes must stay unchanged.
 *
 *     batch ──► udp_send_batch ──► lo ──► receivers
 *     result: the datagrams equal those of the reference (gso.h) for the batch
 *
 * In this test a flow is all that one socket sends to one peer. The process is pinned to one
 * processor, because Linux keeps the order of loopback datagrams only within a processor.
 */
#include "cases.h"
#include "frame.h"
#include "gso.h"
#include "../segment.h"

#include <sched.h>

#define VXLAN "\x08\0\0\0\0\0\x64\0"
#define ENTRIES_MAX 8
#define SLOT_LEN (1 << 16)
#define ARENA_LEN (ENTRIES_MAX * (SLOT_LEN + 256))
#define SOCKETS 3
#define PEERS 4 /* two per family */
#define DATAGRAM_MAX 65000
#define MTU_USUAL 65536
#define MTU_SMALL 1500

static struct arena arena;
static struct batch batch;
static struct path_errors errors;
static int32_t fds[SEND_SOCKETS];
static struct peer_row peers[PEERS];
static int receivers[PEERS];
static uint16_t ports[2][SOCKETS];
static uint8_t before[ARENA_LEN];

/* The next expected datagram of a flow: segment `segment` of entry `entry`. */
static struct cursor {
	int entry, segment;
} cursors[PEERS][SOCKETS];

static struct {
	long superframes, datagrams;
} seen;

static int is_ipv6(int peer)
{
	return peer >= PEERS / 2;
}

/* Parses entry i, in its state before the call, with the reference. */
static int open_entry(struct whole *whole, int i)
{
	struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = (uint8_t)batch.gso_type[i],
		.gso_size = (uint16_t)batch.gso_size[i],
		.csum_start = (uint16_t)(batch.csum_start[i] - VXLAN_LEN),
		.csum_offset = (uint16_t)batch.csum_off[i],
	};

	return gso_open(whole, before + batch.off[i] + VXLAN_LEN, batch.len[i] - VXLAN_LEN, &vnet);
}

/* Writes the next expected datagram of a flow. Returns its length; -1 at the end. */
static int next_wanted(uint8_t *datagram, int peer, int socket, int count)
{
	struct cursor *cursor = &cursors[peer][socket];
	const uint8_t *bytes;
	struct whole whole;
	int len;

	while (cursor->entry < count && (batch.verdict[cursor->entry] || batch.peer_idx[cursor->entry] != peer ||
					 batch.src_port_idx[cursor->entry] != socket))
		cursor->entry++;
	if (cursor->entry == count)
		return -1;
	bytes = before + batch.off[cursor->entry];
	if (batch.gso_type[cursor->entry] == FRAME_GSO_NONE) {
		memcpy(datagram, bytes, (size_t)batch.len[cursor->entry]);
		return batch.len[cursor->entry++];
	}
	REQUIRE(open_entry(&whole, cursor->entry));
	memcpy(datagram, bytes, VXLAN_LEN);
	len = VXLAN_LEN + gso_cut(datagram + VXLAN_LEN, &whole, cursor->segment++);
	if (cursor->segment == whole.count)
		*cursor = (struct cursor){ .entry = cursor->entry + 1 };
	return len;
}

static int socket_of(int peer, uint16_t port)
{
	for (int k = 0; k < SOCKETS; k++)
		if (ports[is_ipv6(peer)][k] == port)
			return k;
	return -1;
}

/* Number of datagrams of the batch for a peer. */
static int wanted_by(int peer, int count)
{
	int wanted = 0;

	for (int i = 0; i < count; i++) {
		struct whole whole = { .count = 1 };

		if (batch.peer_idx[i] != peer || batch.verdict[i])
			continue;
		if (batch.gso_type[i] != FRAME_GSO_NONE)
			REQUIRE(open_entry(&whole, i));
		wanted += whole.count;
	}
	return wanted;
}

/* Receives one datagram, which must be the next of its flow. */
static int check_next(int peer, int count)
{
	static uint8_t found[SLOT_LEN], wanted[SLOT_LEN + 256];
	struct sockaddr_in6 from;
	socklen_t from_len = sizeof(from);
	long len = recvfrom(receivers[peer], found, sizeof(found), 0, (struct sockaddr *)&from, &from_len);
	int socket, wanted_len, at = 0;

	if (len < 0 && readable_within(receivers[peer], 2000))
		len = recvfrom(receivers[peer], found, sizeof(found), 0, (struct sockaddr *)&from, &from_len);
	if (!CHECK(len >= 0))
		return 0;
	socket = socket_of(peer, ntohs(from.sin6_port)); /* at the same offset in sockaddr_in */
	REQUIRE(socket >= 0);
	wanted_len = next_wanted(wanted, peer, socket, count);
	seen.datagrams++;
	if (wanted_len == len && memcmp(found, wanted, (size_t)len) == 0)
		return 1;
	while (at < len && at < wanted_len && found[at] == wanted[at])
		at++;
	printf("# peer %d, socket %d, entry %d, segment %d: %ld bytes, expected %d; first difference at byte %d\n", peer,
	       socket, cursors[peer][socket].entry, cursors[peer][socket].segment - 1, len, wanted_len, at);
	return 0;
}

static int check_received(int count)
{
	memset(cursors, 0, sizeof(cursors));
	for (int peer = 0; peer < PEERS; peer++) {
		uint8_t none;

		for (int left = wanted_by(peer, count); left > 0; left--)
			if (!check_next(peer, count))
				return 0;
		if (!CHECK(recv(receivers[peer], &none, 1, 0) < 0))
			return 0;
	}
	return 1;
}

/* Introduces header errors that a sender can make; the output must contain the same errors. */
static void spoil(uint8_t *frame, const struct shape *s)
{
	switch (random_below(3)) {
	case 0: /* the initial sum of the checksum */
		frame[checksum_at(s) + (int)random_below(2)] ^= (uint8_t)random_between(1, 255);
		return;
	case 1: /* the length in the IP header, which is ignored */
		put16(frame + ip_at(s) + (s->version == 4 ? 2 : 4), (uint16_t)random_below(65536));
		return;
	default:
		if (s->version == 4)
			put16(frame + ip_at(s) + 10, (uint16_t)random_below(65536));
	}
}

/* Writes a superframe to the slot of entry i. */
static void put_superframe(int i)
{
	static const uint32_t sizes[] = { 8, 100, 1448, 1448, 9000, 40000 };
	static const uint32_t lens[] = { 50, 3000, 3000, 20000, 65000 };
	struct shape s = random_shape();
	uint32_t gso_size = random_between(1, sizes[random_below(6)]), len_max = lens[random_below(5)];
	uint32_t most = gso_size * (s.protocol == IPPROTO_TCP ? SEGMENTS_MAX_TCP : SEGMENTS_MAX_UDP);
	uint32_t room = 65535 - (uint32_t)(payload_at(&s) - ip_at(&s) + (s.version == 4 ? 0 : 40));

	len_max = len_max > most ? most : len_max;
	len_max = len_max > room ? room : len_max;
	s.payload_len = (int)random_between(1, len_max);
	if (random_one_in(4)) { /* whole segments only */
		s.payload_len -= s.payload_len % (int)gso_size;
		s.payload_len = s.payload_len ? s.payload_len : 1;
	}
	memcpy(arena.base + batch.off[i], VXLAN, VXLAN_LEN);
	build_headers(arena.base + batch.off[i] + VXLAN_LEN, &s);
	pool_copy(arena.base + batch.off[i] + VXLAN_LEN + payload_at(&s), s.payload_len);
	seal(arena.base + batch.off[i] + VXLAN_LEN, payload_at(&s) + s.payload_len, &s, 1);
	describe_superframe(&batch, i, batch.off[i], VXLAN_LEN, &s, (int)gso_size);
	if (s.protocol == IPPROTO_TCP && random_one_in(3))
		batch.gso_type[i] |= FRAME_GSO_ECN;
	if (random_one_in(16))
		spoil(arena.base + batch.off[i] + VXLAN_LEN, &s);
}

/*
 * Writes a plain frame, often of the size of the adjacent superframe's segments, so that the frame
 * can join the train of these segments.
 */
static void put_frame(int i)
{
	int len = (int)random_between(22, random_one_in(8) ? 9000 : 1500);

	if (i > 0 && random_one_in(2)) {
		len = batch.csum_start[i - 1] + 20 + batch.gso_size[i - 1];
		len = len < 22 || len > DATAGRAM_MAX ? 22 : len;
	}
	pool_copy(arena.base + batch.off[i], len);
	batch.len[i] = len;
	batch.gso_type[i] = FRAME_GSO_NONE;
}

/* Adds the same bytes for another peer, as in a flood. */
static void put_again(int i)
{
	batch.off[i] = batch.off[i - 1];
	batch.len[i] = batch.len[i - 1];
	batch.gso_type[i] = batch.gso_type[i - 1];
	batch.gso_size[i] = batch.gso_size[i - 1];
	batch.flags[i] = batch.flags[i - 1];
	batch.csum_start[i] = batch.csum_start[i - 1];
	batch.csum_off[i] = batch.csum_off[i - 1];
}

/* Sends one batch and checks it; the superframes are compared with their copies. */
static int check_case(void)
{
	static const int trains[] = { 64, 64, 1, 2, 44 };
	int count = random_one_in(3) ? (int)random_between(2, ENTRIES_MAX) : 1, used = 0;
	int train_max = trains[random_below(5)], one_flow = random_one_in(2);
	int peer = (int)random_below(PEERS), socket = (int)random_below(SOCKETS);

	memset(&batch, 0, sizeof(batch));
	for (int i = 0; i < count; i++) {
		batch.off[i] = used + (int)random_below(64);
		batch.peer_idx[i] = one_flow ? peer : (int)random_below(PEERS);
		batch.src_port_idx[i] = one_flow ? socket : (int)random_below(SOCKETS);
		if (i > 0 && random_one_in(3))
			put_again(i);
		else if (i == 0 || random_one_in(2))
			put_superframe(i);
		else
			put_frame(i);
		batch.verdict[i] = i > 0 && random_one_in(16);
		if (batch.off[i] + batch.len[i] > used)
			used = batch.off[i] + batch.len[i];
		seen.superframes += batch.gso_type[i] != FRAME_GSO_NONE;
	}
	memcpy(before, arena.base, (size_t)used);
	CHECK_EQ(udp_send_batch(fds, peers, PEERS, arena, &batch, count, train_max, NULL, NULL, &errors), 0);
	return check_received(count) && CHECK(memcmp(before, arena.base, (size_t)used) == 0);
}

static int open_on(const char *address, int options)
{
	struct peer_row local = row_of(address, 0);
	int fd = udp_open(&local, "", options, 64 << 20, 64 << 20, 0);

	REQUIRE(fd >= 0);
	return fd;
}

static void open_sockets(void)
{
	memset(fds, 0xff, sizeof(fds));
	for (int family = 0; family < 2; family++)
		for (int k = 0; k < SOCKETS; k++) {
			int fd = open_on(family ? "::1" : "127.0.0.1", UDP_OPEN_RECVERR);

			fds[family * SOURCE_SOCKETS + k] = fd;
			ports[family][k] = port_of(fd);
		}
	for (int peer = 0; peer < PEERS; peer++) {
		const char *address = is_ipv6(peer) ? "::1" : "127.0.0.1";

		receivers[peer] = open_on(address, 0);
		peers[peer] = row_of(address, port_of(receivers[peer]));
	}
}

static void stay_on_processor(void)
{
	cpu_set_t processors;

	CPU_ZERO(&processors);
	CPU_SET(sched_getcpu(), &processors);
	REQUIRE(sched_setaffinity(0, sizeof(processors), &processors) == 0);
}

int main(void)
{
	struct cases cases = cases_wanted();
	int mtu = 0;

	if (!own_network())
		SKIP("a network namespace requires root");
	stay_on_processor();
	open_sockets();
	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
	for (uint32_t k = 0; k < cases.count; k++) {
		/*
		 * Some batches use segments larger than the path MTU: trains are refused, datagrams
		 * fragmented.
		 */
		int mtu_now = (cases.first + k) / 100 % 8 == 7 ? MTU_SMALL : MTU_USUAL;

		if (mtu != mtu_now)
			REQUIRE(link_mtu("lo", mtu_now) == 0);
		mtu = mtu_now;
		case_begin(&cases, cases.first + k);
		if (!CHECK(check_case())) {
			case_failed(&cases, cases.first + k);
			return check_report();
		}
	}
	CHECK(seen.datagrams > seen.superframes * 2);
	free(arena.base);
	printf("seed %#llx, %u batches, %ld superframes, %ld datagrams: ", (unsigned long long)cases.seed, cases.count,
	       seen.superframes, seen.datagrams);
	return check_report();
}
