/* SPDX-License-Identifier: MIT
 *
 * Trains formed by udp_send_batch() from adjacent datagrams.
 *
 * Covers what joins a train and what ends it. Each datagram arrives as it would without trains,
 * even if the kernel refuses the train.
 */
#include "check.h"
#include "net.h"

#include <netinet/in.h>
#include <sys/uio.h>

#define ARENA_LEN (BATCH_CAP * 2048)
#define TRAIN_MAX 64

static struct arena arena;
static struct batch batch;
static struct path_errors errors;
static int32_t fds[SEND_SOCKETS];
static struct peer_row peers[2];
static int receivers[2];
static struct refused_train refused;

static int open_on(const char *address, int options)
{
	struct peer_row local = row_of(address, 0);
	int fd = udp_open(&local, "", options, 4 << 20, 0, 0);

	REQUIRE(fd >= 0);
	return fd;
}

/* Fills entry i with lens[i] bytes of value i, for peer 0, from socket 0. */
static void fill_batch(const int32_t *lens, int32_t count)
{
	memset(&batch, 0, sizeof(batch));
	for (int32_t i = 0; i < count; i++) {
		batch.off[i] = i * 2048;
		batch.len[i] = lens[i];
		memset(arena.base + batch.off[i], i, (size_t)lens[i]);
	}
}

static int send_batch(int32_t count, int32_t train_max)
{
	refused = (struct refused_train){ 0 };
	return udp_send_batch(fds, peers, 2, arena, &batch, count, train_max, &refused, NULL, &errors);
}

/* Expects a datagram of this length, filled with this value. */
static void expect(int fd, int32_t len, int value)
{
	uint8_t datagram[4096];
	long got = readable_within(fd, 2000) ? recv(fd, datagram, sizeof(datagram), 0) : -1;

	CHECK_EQ(got, len);
	for (long k = 0; k < got; k++)
		if (datagram[k] != value) {
			CHECK_EQ(datagram[k], value);
			break;
		}
}

static void expect_nothing(int fd)
{
	CHECK_EQ(recv(fd, NULL, 0, 0), -1);
}

/* Sends the batch and expects exactly its datagrams, in order. */
static void check_batch(const int32_t *lens, int32_t count, int32_t train_max)
{
	fill_batch(lens, count);
	CHECK_EQ(send_batch(count, train_max), 0);
	for (int32_t i = 0; i < count; i++) {
		CHECK_EQ(batch.status[i], 0);
		expect(receivers[0], lens[i], i);
	}
	expect_nothing(receivers[0]);
}

/*
 * Checks the lengths of the messages sent; `wanted` ends with 0. One receive with UDP_GRO returns
 * one message.
 */
static void check_messages(const int32_t *lens, int32_t count, int32_t train_max, const int32_t *wanted)
{
	struct peer_row usual = peers[0];
	int fd = open_on(usual.family == AF_INET6 ? "::1" : "127.0.0.1", UDP_OPEN_RECEIVE);
	static uint8_t message[65536];

	peers[0].port = port_of(fd);
	fill_batch(lens, count);
	CHECK_EQ(send_batch(count, train_max), 0);
	for (; *wanted; wanted++)
		CHECK_EQ(recv(fd, message, sizeof(message), 0), *wanted);
	expect_nothing(fd);
	peers[0] = usual;
	close(fd);
}

static void test_what_joins(void)
{
	static const int32_t equal[] = { 100, 100, 100 }, shorter[] = { 100, 100, 40, 100 }, longer[] = { 40, 100, 100 };
	static const int32_t empty[] = { 100, 0, 100 }, one[] = { 1, 1, 1 };

	check_messages(equal, 3, TRAIN_MAX, (int32_t[]){ 300, 0 });
	check_messages(shorter, 4, TRAIN_MAX, (int32_t[]){ 240, 100, 0 });
	check_messages(longer, 3, TRAIN_MAX, (int32_t[]){ 40, 200, 0 });
	check_messages(equal, 3, 2, (int32_t[]){ 200, 100, 0 });
	check_messages(equal, 3, 1, (int32_t[]){ 100, 100, 100, 0 });
	check_messages(one, 3, TRAIN_MAX, (int32_t[]){ 3, 0 });
	check_batch(equal, 3, TRAIN_MAX);
	check_batch(shorter, 4, TRAIN_MAX);
	check_batch(longer, 3, TRAIN_MAX);
	check_batch(empty, 3, TRAIN_MAX);
	check_batch((int32_t[]){ 0, 0, 0 }, 3, TRAIN_MAX);
}

/* A batch of 128 datagrams: a train holds at most 46 datagrams of 1,400 bytes, or 64 short ones. */
static void test_full_batch(void)
{
	int32_t lens[BATCH_CAP];

	for (int32_t i = 0; i < BATCH_CAP; i++)
		lens[i] = 1400;
	check_messages(lens, BATCH_CAP, TRAIN_MAX, (int32_t[]){ 46 * 1400, 46 * 1400, 36 * 1400, 0 });
	check_batch(lens, BATCH_CAP, TRAIN_MAX);
	for (int32_t i = 0; i < BATCH_CAP; i++)
		lens[i] = 72;
	check_messages(lens, BATCH_CAP, TRAIN_MAX, (int32_t[]){ 64 * 72, 64 * 72, 0 });
	check_batch(lens, BATCH_CAP, TRAIN_MAX);
}

/*
 * A datagram for another peer ends a train. A skipped entry, a refused entry, or an entry for
 * another socket does not end it; datagrams of other sockets are sent later.
 */
static void test_what_ends_one(void)
{
	static const int32_t lens[] = { 100, 100, 100, 100, 100, 100, 100, 100 };

	fill_batch(lens, 8);
	batch.peer_idx[1] = batch.peer_idx[2] = 1;
	batch.src_port_idx[4] = 1;
	batch.verdict[5] = 3;
	batch.off[6] = ARENA_LEN;
	CHECK_EQ(send_batch(8, TRAIN_MAX), 1);
	for (int32_t i = 0; i < 8; i++)
		CHECK_EQ(batch.status[i], i == 6 ? -EFAULT : 0);
	expect(receivers[0], 100, 0);
	expect(receivers[1], 100, 1);
	expect(receivers[1], 100, 2);
	expect(receivers[0], 100, 3);
	expect(receivers[0], 100, 7);
	expect(receivers[0], 100, 4);
	expect_nothing(receivers[0]);
	expect_nothing(receivers[1]);
}

/*
 * A refused train for peer 1 is reported if its single datagrams are accepted. It is not reported
 * if they are refused too.
 */
static void check_refused_train(void)
{
	struct peer_row usual = peers[1];

	CHECK_EQ(refused.error, -EINVAL);
	CHECK_EQ(refused.peer_idx, 0);
	fill_batch((int32_t[]){ 100, 100, 100 }, 3);
	batch.peer_idx[1] = batch.peer_idx[2] = 1;
	CHECK_EQ(send_batch(3, TRAIN_MAX), 0);
	CHECK_EQ(refused.peer_idx, 1);
	expect(receivers[0], 100, 0);
	expect(receivers[1], 100, 1);
	expect(receivers[1], 100, 2);

	peers[1].port = 0;
	fill_batch((int32_t[]){ 100, 100, 100 }, 3);
	batch.peer_idx[1] = batch.peer_idx[2] = 1;
	CHECK_EQ(send_batch(3, TRAIN_MAX), 2);
	CHECK_EQ(batch.status[1], -EINVAL);
	CHECK_EQ(refused.error, 0);
	expect(receivers[0], 100, 0);
	peers[1] = usual;
}

/*
 * Without a UDP checksum the kernel makes no trains over IPv4; over IPv6 it possibly does. All
 * datagrams arrive.
 */
static void test_without_checksum(const char *loopback)
{
	int usual = fds[peers[0].family == AF_INET6 ? SOURCE_SOCKETS : 0];
	int32_t *fd = &fds[peers[0].family == AF_INET6 ? SOURCE_SOCKETS : 0];

	*fd = open_on(loopback, UDP_OPEN_RECVERR | UDP_OPEN_NO_CHECKSUM);
	check_batch((int32_t[]){ 100, 100, 100, 50 }, 4, TRAIN_MAX);
	if (peers[0].family == AF_INET)
		check_refused_train();
	check_batch((int32_t[]){ 100, 100, 100, 50 }, 4, 1);
	CHECK_EQ(refused.error, 0);
	check_batch((int32_t[]){ 1000, 1000 }, 2, TRAIN_MAX); /* EINVAL, perhaps for its size */
	CHECK_EQ(refused.error, 0);
	close(*fd);
	*fd = usual;
}

/*
 * Datagrams larger than the path MTU form no train and are fragmented one by one (lo has an MTU of
 * 1,500). The refusal of the train is not reported.
 */
static void test_larger_than_path(void)
{
	check_batch((int32_t[]){ 1600, 1600, 1600 }, 3, TRAIN_MAX);
	check_batch((int32_t[]){ 1400, 1400, 1600, 1600, 1400 }, 5, TRAIN_MAX);
	CHECK_EQ(refused.error, 0);
}

/* An error left by an earlier datagram fails the train once; the train is then sent whole. */
static void test_earlier_error(const char *loopback)
{
	struct peer_row usual = peers[1];
	int closed = open_on(loopback, 0);

	peers[1].port = port_of(closed);
	close(closed);
	fill_batch((int32_t[]){ 100 }, 1);
	batch.peer_idx[0] = 1;
	CHECK_EQ(send_batch(1, TRAIN_MAX), 0);
	check_batch((int32_t[]){ 100, 100, 100 }, 3, TRAIN_MAX);
	peers[1] = usual;
}

/* Without a route each entry reports the error. */
static void test_unroutable(void)
{
	struct peer_row usual = peers[1];

	peers[1] = row_of("203.0.113.1", 4789);
	fill_batch((int32_t[]){ 100, 100, 100, 100 }, 4);
	batch.peer_idx[0] = batch.peer_idx[1] = batch.peer_idx[2] = 1;
	CHECK_EQ(send_batch(4, TRAIN_MAX), 3);
	for (int32_t i = 0; i < 3; i++)
		CHECK(batch.status[i] < 0);
	CHECK_EQ(batch.status[0], batch.status[2]);
	CHECK_EQ(batch.status[3], 0);
	expect(receivers[0], 100, 3);
	peers[1] = usual;
}

static void test_family(const char *loopback, int own)
{
	int ipv6 = strchr(loopback, ':') != NULL;

	memset(fds, 0xff, sizeof(fds));
	for (int k = 0; k < 2; k++) {
		fds[ipv6 * SOURCE_SOCKETS + k] = open_on(loopback, UDP_OPEN_RECVERR);
		receivers[k] = open_on(loopback, 0);
		REQUIRE(setsockopt(receivers[k], IPPROTO_UDP, 102, &(int){ 1 }, sizeof(int)) == 0); /* NO_CHECK6_RX */
		peers[k] = row_of(loopback, port_of(receivers[k]));
	}
	test_what_joins();
	test_full_batch();
	test_what_ends_one();
	test_without_checksum(loopback);
	test_earlier_error(loopback);
	if (own)
		test_larger_than_path();
	if (own && !ipv6)
		test_unroutable();
	for (int k = 0; k < 2; k++) {
		close(fds[ipv6 * SOURCE_SOCKETS + k]);
		close(receivers[k]);
	}
}

int main(void)
{
	int own = own_network() && link_mtu("lo", 1500) == 0;

	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
	test_family("127.0.0.1", own);
	test_family("::1", own);
	free(arena.base);
	return check_report();
}
