/* SPDX-License-Identifier: MIT
 *
 * UDP sockets over loopback.
 *
 * Covers options, batches of both families, received trains, a slot that is too short, a full
 * receive buffer, and unreachable peers among reachable ones. Sent trains: train_test.c. Runs in a
 * separate network namespace where permitted; elsewhere the checks that need a namespace are
 * skipped.
 */
#include "check.h"
#include "net.h"
#include "../address.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif

#define SLOTS 16
#define STRIDE 66368
#define ARENA_LEN (SLOTS * STRIDE)
#define DATAGRAM_LEN 64
#define NO_TRAINS 1

static struct arena arena;
static struct batch batch;
static struct path_errors errors;
static struct peer_row sources[BATCH_CAP];
static int32_t fds[SEND_SOCKETS];
static int wait_fd;

static int open_on(const char *address, int options)
{
	struct peer_row local = row_of(address, 0);
	int fd = udp_open(&local, "", options, 0, 0, 0);

	REQUIRE(fd >= 0);
	return fd;
}

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	getsockopt(fd, level, name, &value, &len);
	return value;
}

static void test_open_refuses(void)
{
	struct peer_row local = row_of("127.0.0.1", 0), empty = { 0 }, in_use, foreign;
	int fd = open_on("127.0.0.1", 0);

	in_use = row_of("127.0.0.1", port_of(fd));
	foreign = row_of("192.0.2.1", 0);
	CHECK_EQ(udp_open(&empty, "", 0, 0, 0, 0), -EAFNOSUPPORT);
	CHECK_EQ(udp_open(&in_use, "", 0, 0, 0, 0), -EADDRINUSE);
	CHECK_EQ(udp_open(&in_use, "", UDP_OPEN_RECEIVE, 0, 0, 0), -EADDRINUSE);
	CHECK_EQ(udp_open(&foreign, "", 0, 0, 0, 0), -EADDRNOTAVAIL);
	CHECK_EQ(udp_open(&local, "no-such-device-", 0, 0, 0, 0), -ENODEV);
	CHECK_EQ(udp_open(&local, "a-name-longer-than-any-device", 0, 0, 0, 0), -ENODEV);
	close(fd);
}

/* Datagrams that arrive before udp_admit() are dropped and counted, and cause no ICMP error. */
static void test_closed(const char *address)
{
	int receiver = open_on(address, UDP_OPEN_RECEIVE | UDP_OPEN_CLOSED), sender = open_on(address, 0);
	struct peer_row to = row_of(address, port_of(receiver));
	union address packed;
	socklen_t len = unpack_address(&packed, &to);
	char byte = 'x';

	REQUIRE(!connect(sender, &packed.any, len));
	CHECK_EQ(send(sender, &byte, 1, 0), 1);
	CHECK_EQ(send(sender, &byte, 1, 0), 1); /* ECONNREFUSED if an ICMP error had come */
	CHECK_EQ(recv(receiver, &byte, 1, 0), -1);
	CHECK_EQ(udp_drops(receiver), 2);
	CHECK_EQ(udp_admit(receiver), 0);
	CHECK_EQ(send(sender, &byte, 1, 0), 1);
	CHECK_EQ(recv(receiver, &byte, 1, 0), 1);
	CHECK_EQ(udp_drops(receiver), 2);
	CHECK_EQ(udp_admit(receiver), -ENOENT);
	close(receiver);
	close(sender);
}

static void test_options(void)
{
	struct peer_row ipv4 = row_of("0.0.0.0", 0), ipv6 = row_of("::", 0);
	int fd = udp_open(&ipv4, "", UDP_OPEN_RECEIVE | UDP_OPEN_DF, 300000, 200000, 17);

	CHECK_EQ(option_of(fd, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_PROBE);
	CHECK_EQ(option_of(fd, IPPROTO_IP, IP_TTL), 17);
	CHECK_EQ(option_of(fd, IPPROTO_IP, IP_RECVERR), 0);
	CHECK_EQ(option_of(fd, IPPROTO_UDP, UDP_GRO), 1);
	CHECK_EQ(option_of(fd, SOL_SOCKET, SO_REUSEADDR), 0);
	CHECK(option_of(fd, SOL_SOCKET, SO_RCVBUF) >= 300000);
	CHECK(option_of(fd, SOL_SOCKET, SO_SNDBUF) >= 200000);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);

	fd = udp_open(&ipv4, "", UDP_OPEN_RECVERR | UDP_OPEN_NO_CHECKSUM, 0, 0, 0);
	CHECK_EQ(option_of(fd, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DONT);
	CHECK_EQ(option_of(fd, IPPROTO_IP, IP_RECVERR), 1);
	CHECK_EQ(option_of(fd, IPPROTO_UDP, UDP_GRO), 0);
	CHECK_EQ(option_of(fd, SOL_SOCKET, SO_NO_CHECK), 1);
	close(fd);

	fd = udp_open(&ipv6, "", UDP_OPEN_RECEIVE | UDP_OPEN_DF, 0, 0, 17);
	CHECK_EQ(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	CHECK_EQ(option_of(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER), IPV6_PMTUDISC_PROBE);
	CHECK_EQ(option_of(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 17);
	CHECK_EQ(option_of(fd, IPPROTO_UDP, 102), 1); /* UDP_NO_CHECK6_RX */
	CHECK_EQ(option_of(fd, IPPROTO_UDP, 101), 0); /* UDP_NO_CHECK6_TX */
	close(fd);

	fd = udp_open(&ipv6, "", UDP_OPEN_RECVERR | UDP_OPEN_NO_CHECKSUM, 0, 0, 0);
	CHECK_EQ(option_of(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER), IPV6_PMTUDISC_DONT);
	CHECK_EQ(option_of(fd, IPPROTO_IPV6, IPV6_RECVERR), 1);
	CHECK_EQ(option_of(fd, IPPROTO_UDP, 101), 1);
	close(fd);
}

/*
 * Fills entry i with DATAGRAM_LEN bytes of value i, near the arena's end, apart from the receive
 * slots.
 */
static void fill_batch(int32_t count)
{
	memset(&batch, 0, sizeof(batch));
	for (int32_t i = 0; i < count; i++) {
		batch.off[i] = ARENA_LEN - (i + 1) * DATAGRAM_LEN;
		batch.len[i] = DATAGRAM_LEN;
		memset(arena.base + batch.off[i], i, DATAGRAM_LEN);
	}
}

/*
 * Receives all datagrams, SLOTS - 1 at a time. Entry k of first_bytes and ports belongs to datagram
 * k. Returns the number of datagrams.
 */
static int receive_all(int fd, uint8_t *first_bytes, uint16_t *ports)
{
	static struct batch received;
	struct udp_slots slots = { STRIDE, SLOTS - 1 };
	int total = 0, count;

	while ((count = udp_receive_batch(fd, arena, &received, sources, slots)) > 0) {
		for (int i = 0; i < count; i++, total++) {
			CHECK_EQ(received.len[i], DATAGRAM_LEN);
			CHECK_EQ(received.gso_size[i], 0);
			CHECK_EQ(received.ifindex[i], if_nametoindex("lo"));
			CHECK_EQ(received.seg_count[i], 1);
			CHECK_EQ(received.off[i], i * STRIDE);
			first_bytes[total] = arena.base[received.off[i]];
			ports[total] = sources[i].port;
		}
	}
	CHECK_EQ(count, 0);
	return total;
}

/*
 * A full batch that alternates between two sockets and skips every fifth entry: sockets are served
 * one after the other; order and sources are kept.
 */
static void test_batch(const char *loopback)
{
	int ipv6 = strchr(loopback, ':') != NULL;
	int receiver = open_on(loopback, UDP_OPEN_RECEIVE);
	int senders[2] = { open_on(loopback, UDP_OPEN_RECVERR), open_on(loopback, UDP_OPEN_RECVERR) };
	struct peer_row peers[2] = { { 0 }, row_of(loopback, port_of(receiver)) };
	uint8_t first_bytes[BATCH_CAP];
	uint16_t ports[BATCH_CAP];
	int32_t wanted = 0;

	memset(fds, 0xff, sizeof(fds));
	fds[ipv6 * SOURCE_SOCKETS + 7] = senders[0];
	fds[ipv6 * SOURCE_SOCKETS + 63] = senders[1];
	fill_batch(BATCH_CAP);
	for (int32_t i = 0; i < BATCH_CAP; i++) {
		batch.peer_idx[i] = 1;
		batch.src_port_idx[i] = i / 3 % 2 ? 63 : 7;
		batch.verdict[i] = i % 5 == 4;
	}
	CHECK_EQ(udp_send_batch(fds, peers, 2, arena, &batch, BATCH_CAP, NO_TRAINS, NULL, NULL, &errors), 0);
	CHECK_EQ(receive_all(receiver, first_bytes, ports), BATCH_CAP - BATCH_CAP / 5);
	for (int32_t i = 0; i < 2 * BATCH_CAP; i++) {
		int32_t entry = i % BATCH_CAP, sender = i / BATCH_CAP;

		CHECK_EQ(batch.status[entry], 0);
		if (batch.verdict[entry] || entry / 3 % 2 != sender)
			continue;
		CHECK_EQ(first_bytes[wanted], entry);
		CHECK_EQ(ports[wanted], port_of(senders[sender]));
		wanted++;
	}
	CHECK_EQ(sources[5].family, ipv6 ? AF_INET6 : AF_INET);
	CHECK(memcmp(sources[5].addr, peers[1].addr, sizeof(peers[1].addr)) == 0);
	CHECK_EQ(sources[5].scope_id, 0);
	CHECK_EQ(udp_send_batch(fds, peers, 2, arena, &batch, 0, NO_TRAINS, NULL, NULL, &errors), 0);
	close(receiver);
	close(senders[0]);
	close(senders[1]);
}

/*
 * A train of 10 datagrams of 1,000 bytes and a last one of 300 bytes becomes one descriptor. A
 * datagram of 0 bytes becomes one descriptor, too.
 */
static void test_train(void)
{
	int receiver = open_on("127.0.0.1", UDP_OPEN_RECEIVE), sender = open_on("127.0.0.1", 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port_of(receiver)) };
	struct udp_slots slots = { STRIDE, 4 };
	uint16_t segment = 1000;
	static uint8_t train[10300];

	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	CHECK_EQ(sendto(sender, train, 0, 0, (struct sockaddr *)&to, sizeof(to)), 0);
	REQUIRE(setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &(int){ segment }, sizeof(int)) == 0);
	CHECK_EQ(sendto(sender, train, sizeof(train), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(train));
	CHECK_EQ(udp_receive_batch(receiver, arena, &batch, sources, (struct udp_slots){ STRIDE, 2 }), 2);
	CHECK_EQ(batch.len[0], 0);
	CHECK_EQ(batch.gso_size[0], 0);
	CHECK_EQ(batch.len[1], sizeof(train));
	CHECK_EQ(batch.gso_size[1], segment);
	CHECK_EQ(batch.ifindex[1], if_nametoindex("lo"));
	CHECK_EQ(udp_receive_batch(receiver, arena, &batch, sources, slots), 0);
	close(receiver);
	close(sender);
}

static void test_short_slot(void)
{
	int receiver = open_on("127.0.0.1", UDP_OPEN_RECEIVE), sender = open_on("127.0.0.1", 0);
	struct peer_row peer = row_of("127.0.0.1", port_of(receiver));

	memset(fds, 0xff, sizeof(fds));
	fds[0] = sender;
	fill_batch(2);
	batch.len[0] = DATAGRAM_LEN;
	batch.len[1] = DATAGRAM_LEN - 1;
	CHECK_EQ(udp_send_batch(fds, &peer, 1, arena, &batch, 2, NO_TRAINS, NULL, NULL, &errors), 0);
	arena.base[2 * (DATAGRAM_LEN - 1)] = 0xee;
	CHECK_EQ(udp_receive_batch(receiver, arena, &batch, sources, (struct udp_slots){ DATAGRAM_LEN - 1, 2 }),
		 2);
	CHECK_EQ(batch.len[0], 0);
	CHECK_EQ(batch.len[1], DATAGRAM_LEN - 1);
	CHECK_EQ(arena.base[2 * (DATAGRAM_LEN - 1)], 0xee); /* no byte beyond the slots */
	CHECK_EQ(udp_receive_batch(-1, arena, &batch, sources, (struct udp_slots){ 64, 2 }), -EBADF);
	close(receiver);
	close(sender);
}

/* A train is discarded if its segment size is possibly among the truncated control messages. */
static void test_truncated_control(void)
{
	static const int more[][2] = { { SOL_SOCKET, SO_TIMESTAMPNS }, { IPPROTO_IP, IP_PKTINFO }, { IPPROTO_IP, IP_RECVTTL },
				       { IPPROTO_IP, IP_RECVORIGDSTADDR } };
	int receiver = open_on("127.0.0.1", UDP_OPEN_RECEIVE), sender = open_on("127.0.0.1", 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port_of(receiver)) };
	uint8_t train[200] = { 0 };

	for (size_t k = 0; k < sizeof(more) / sizeof(more[0]); k++)
		REQUIRE(setsockopt(receiver, more[k][0], more[k][1], &(int){ 1 }, sizeof(int)) == 0);
	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	REQUIRE(setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &(int){ 100 }, sizeof(int)) == 0);
	CHECK_EQ(sendto(sender, train, sizeof(train), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(train));
	CHECK_EQ(udp_receive_batch(receiver, arena, &batch, sources, (struct udp_slots){ STRIDE, 2 }), 1);
	CHECK_EQ(batch.len[0], 0);
	CHECK_EQ(batch.gso_size[0], 0);
	close(receiver);
	close(sender);
}

/* Received and dropped datagrams add up to those sent. */
static void test_overflow(void)
{
	struct peer_row local = row_of("127.0.0.1", 0), peer;
	int receiver = udp_open(&local, "", UDP_OPEN_RECEIVE, 4096, 0, 0), sender = open_on("127.0.0.1", 0);
	int received = 0, count;

	REQUIRE(receiver >= 0);
	peer = row_of("127.0.0.1", port_of(receiver));
	memset(fds, 0xff, sizeof(fds));
	fds[0] = sender;
	CHECK_EQ(udp_drops(receiver), 0);
	for (int round = 0; round < 4; round++) {
		fill_batch(BATCH_CAP);
		CHECK_EQ(udp_send_batch(fds, &peer, 1, arena, &batch, BATCH_CAP, NO_TRAINS, NULL, NULL, &errors), 0);
	}
	while ((count = udp_receive_batch(receiver, arena, &batch, sources, (struct udp_slots){ STRIDE, 8 })) > 0)
		received += count;
	CHECK(received > 0 && received < 4 * BATCH_CAP);
	CHECK_EQ(received + udp_drops(receiver), 4 * BATCH_CAP);
	CHECK_EQ(udp_drops(-1), -EBADF);
	close(receiver);
	close(sender);
}

/* True if the socket is now reported with the error bit. */
static int in_error(int fd)
{
	struct wait_result result;
	int found;

	REQUIRE(wait_add(wait_fd, fd, 1, 0) == 0);
	found = wait_for(wait_fd, 0, 0, &result) == 1 && result.tokens[0] == (1 | WAIT_ERROR_BIT);
	wait_remove(wait_fd, fd);
	return found;
}

/*
 * Peer 1 has no listener: each datagram for it causes an ICMP error that fails the next send. Peer
 * 0 still gets each of its datagrams, once and in order.
 */
static void test_refused_neighbours(const char *loopback)
{
	int ipv6 = strchr(loopback, ':') != NULL;
	int receiver = open_on(loopback, UDP_OPEN_RECEIVE), sender = open_on(loopback, UDP_OPEN_RECVERR);
	int closed = open_on(loopback, 0);
	struct peer_row peers[2] = { row_of(loopback, port_of(receiver)), row_of(loopback, port_of(closed)) };
	uint8_t first_bytes[BATCH_CAP];
	uint16_t ports[BATCH_CAP];

	close(closed);
	memset(fds, 0xff, sizeof(fds));
	fds[ipv6 * SOURCE_SOCKETS] = sender;
	fill_batch(BATCH_CAP);
	for (int32_t i = 0; i < BATCH_CAP; i++)
		batch.peer_idx[i] = i % 2;
	udp_send_batch(fds, peers, 2, arena, &batch, BATCH_CAP, NO_TRAINS, NULL, NULL, &errors);
	CHECK_EQ(receive_all(receiver, first_bytes, ports), BATCH_CAP / 2);
	for (int32_t i = 0; i < BATCH_CAP; i += 2) {
		CHECK_EQ(batch.status[i], 0);
		CHECK_EQ(first_bytes[i / 2], i);
	}
	CHECK(in_error(sender));
	CHECK(udp_read_errors(sender, &errors) > 0);
	CHECK(!in_error(sender));
	CHECK_EQ(udp_read_errors(sender, &errors), 0);
	close(receiver);
	close(sender);
}

/*
 * An error left by an earlier batch fails the first datagram of the next batch. The error is
 * drained, and the datagram is sent again.
 */
static void test_error_of_earlier_batch(void)
{
	int receiver = open_on("127.0.0.1", UDP_OPEN_RECEIVE), sender = open_on("127.0.0.1", UDP_OPEN_RECVERR);
	int closed = open_on("127.0.0.1", 0);
	struct peer_row peers[2] = { row_of("127.0.0.1", port_of(receiver)), row_of("127.0.0.1", port_of(closed)) };
	uint8_t first_bytes[BATCH_CAP];
	uint16_t ports[BATCH_CAP];

	close(closed);
	memset(fds, 0xff, sizeof(fds));
	fds[0] = sender;
	fill_batch(1);
	batch.peer_idx[0] = 1;
	CHECK_EQ(udp_send_batch(fds, peers, 2, arena, &batch, 1, NO_TRAINS, NULL, NULL, &errors), 0);
	CHECK(in_error(sender));
	fill_batch(3);
	CHECK_EQ(udp_send_batch(fds, peers, 2, arena, &batch, 3, NO_TRAINS, NULL, NULL, &errors), 0);
	CHECK_EQ(receive_all(receiver, first_bytes, ports), 3);
	CHECK(!in_error(sender));
	CHECK_EQ(udp_read_errors(sender, &errors), 0);
	close(receiver);
	close(sender);
}

/*
 * vtepd never reads from a sending socket, so anyone can fill its receive buffer. The error queue
 * then has no space for the message of an ICMP error. The error is pending all the same, and
 * draining must clear it.
 */
static void test_error_without_message(void)
{
	struct peer_row local = row_of("127.0.0.1", 0), peer;
	int sender = udp_open(&local, "", UDP_OPEN_RECVERR, 1, 0, 0), flooder = open_on("127.0.0.1", 0);
	int closed = open_on("127.0.0.1", 0);

	REQUIRE(sender >= 0);
	memset(fds, 0xff, sizeof(fds));
	fds[0] = flooder;
	fds[1] = sender;
	peer = row_of("127.0.0.1", port_of(sender));
	fill_batch(BATCH_CAP);
	CHECK_EQ(udp_send_batch(fds, &peer, 1, arena, &batch, BATCH_CAP, NO_TRAINS, NULL, NULL, &errors), 0);
	peer = row_of("127.0.0.1", port_of(closed));
	close(closed);
	fill_batch(1);
	batch.src_port_idx[0] = 1;
	CHECK_EQ(udp_send_batch(fds, &peer, 1, arena, &batch, 1, NO_TRAINS, NULL, NULL, &errors), 0);
	CHECK(in_error(sender));
	CHECK_EQ(udp_read_errors(sender, &errors), 0);
	CHECK(!in_error(sender));
	CHECK_EQ(udp_read_errors(-1, &errors), 0);
	close(flooder);
	close(sender);
}

/*
 * A datagram without a route and one that is too long report their own errno. Adjacent datagrams
 * are sent.
 */
static void test_unroutable_neighbours(void)
{
	int receiver = open_on("0.0.0.0", UDP_OPEN_RECEIVE), sender = open_on("0.0.0.0", UDP_OPEN_RECVERR);
	struct peer_row peers[2] = { row_of("127.0.0.1", port_of(receiver)), row_of("203.0.113.1", 4789) };
	uint8_t first_bytes[BATCH_CAP];
	uint16_t ports[BATCH_CAP];

	memset(fds, 0xff, sizeof(fds));
	fds[0] = sender;
	fill_batch(6);
	batch.peer_idx[0] = batch.peer_idx[3] = 1;
	batch.off[2] = 0;
	batch.len[2] = 65508; /* one more than the maximum of UDP over IPv4 */
	CHECK_EQ(udp_send_batch(fds, peers, 2, arena, &batch, 6, NO_TRAINS, NULL, NULL, &errors), 3);
	CHECK_EQ(batch.status[0], -ENETUNREACH);
	CHECK_EQ(batch.status[1], 0);
	CHECK_EQ(batch.status[2], -EMSGSIZE);
	CHECK_EQ(batch.status[3], -ENETUNREACH);
	CHECK_EQ(batch.status[4], 0);
	CHECK_EQ(batch.status[5], 0);
	CHECK_EQ(receive_all(receiver, first_bytes, ports), 3);
	close(receiver);
	close(sender);
}

int main(void)
{
	int own = own_network();

	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
	wait_fd = wait_create();
	test_open_refuses();
	test_options();
	test_closed("127.0.0.1");
	test_closed("::1");
	test_batch("127.0.0.1");
	test_batch("::1");
	test_train();
	test_short_slot();
	test_truncated_control();
	test_overflow();
	test_refused_neighbours("127.0.0.1");
	test_refused_neighbours("::1");
	test_error_of_earlier_batch();
	test_error_without_message();
	if (own)
		test_unroutable_neighbours();
	close(wait_fd);
	free(arena.base);
	return check_report();
}
