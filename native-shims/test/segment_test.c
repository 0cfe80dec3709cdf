/* SPDX-License-Identifier: MIT
 *
 * Superframes sent as segments.
 *
 * Segments must equal frames that are built one by one. Invalid columns and headers must be
 * refused. Through sockets, the test covers trains, floods, and superframes that the kernel
 * refuses.
 */
#include "../segment.h"
#include "check.h"
#include "frame.h"

#include <errno.h>
#include <limits.h>

#define VXLAN "\x08\0\0\0\0\0\x64\0"
#define ROUNDS 20000
#define TRAIN_MAX 64
#define ARENA_LEN (4 * 65664)

static struct arena arena;
static struct batch batch;
static struct path_errors errors;
static int32_t fds[SEND_SOCKETS];
static struct peer_row peers[2];
static int receivers[2];

/* Writes a superframe with its VXLAN header at off, as entry i. */
static void put_superframe(int i, int off, const struct shape *s, int gso_size)
{
	memcpy(arena.base + off, VXLAN, VXLAN_LEN);
	build_frame(arena.base + off + VXLAN_LEN, s, 1);
	describe_superframe(&batch, i, off, VXLAN_LEN, s, gso_size);
}

static struct shape tcp4_of(int payload_len)
{
	return (struct shape){ .version = 4, .protocol = IPPROTO_TCP, .tcp_options = 12, .payload_len = payload_len,
			       .df = 1, .tcp_flags = 0x18, .sequence = 1000, .id = 7 };
}

/* True if every segment of entry 0 equals the reference and the superframe is unchanged. */
static int matches_reference(const struct shape *s, int gso_size)
{
	static uint8_t wanted[FRAME_LEN_MAX], before[FRAME_LEN_MAX];
	const uint8_t *bytes = arena.base + batch.off[0];
	struct superframe super;
	int held;

	memcpy(before, bytes, (size_t)batch.len[0]);
	if (segment_check(&super, bytes, &batch, 0))
		return 0;
	held = super.count == (s->payload_len + gso_size - 1) / gso_size;
	for (int k = 0; held && k < super.count; k++) {
		int len = reference_segment(wanted, before + VXLAN_LEN, s, gso_size, k);
		uint8_t *headers = malloc((size_t)super.headers_len);
		struct iovec payload = segment_write(&super, k, headers);
		size_t inner_len = (size_t)super.headers_len - VXLAN_LEN;

		held = memcmp(headers, VXLAN, VXLAN_LEN) == 0 && inner_len + payload.iov_len == (size_t)len &&
		       memcmp(headers + VXLAN_LEN, wanted, inner_len) == 0 &&
		       memcmp(payload.iov_base, wanted + inner_len, payload.iov_len) == 0;
		free(headers);
	}
	return held && memcmp(before, bytes, (size_t)batch.len[0]) == 0;
}

static void test_random(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct shape s = random_shape();
		int gso_size = 1 + (int)random_below(random_one_in(2) ? 1448 : 100);

		s.payload_len = 1 + (int)random_below((uint32_t)gso_size * 12);
		memset(&batch, 0, sizeof(batch));
		put_superframe(0, 0, &s, gso_size);
		if (s.protocol == IPPROTO_TCP && random_one_in(2))
			batch.gso_type[0] |= FRAME_GSO_ECN;
		if (!matches_reference(&s, gso_size)) {
			printf("# round %d: IPv%d protocol %d tags %d options %d tcp %d payload %d by %d\n", round, s.version,
			       s.protocol, s.tags, s.options, s.tcp_options, s.payload_len, gso_size);
			CHECK(0);
			return;
		}
	}
	CHECK_EQ(segment_check(&(struct superframe){ 0 }, arena.base, &batch, 0), 0);
}

/* An incorrect sum in the checksum field produces equally incorrect segments. */
static void test_wrong_stays_wrong(void)
{
	struct shape s = tcp4_of(3000);
	struct superframe super;
	uint8_t headers[SEGMENT_HEADERS_MAX], right[FRAME_LEN_MAX];

	memset(&batch, 0, sizeof(batch));
	put_superframe(0, 0, &s, 1448);
	arena.base[VXLAN_LEN + checksum_at(&s)] ^= 0x10;
	REQUIRE(segment_check(&super, arena.base, &batch, 0) == 0);
	segment_write(&super, 1, headers);
	reference_segment(right, arena.base + VXLAN_LEN, &s, 1448, 1);
	CHECK(memcmp(headers + VXLAN_LEN + checksum_at(&s), right + checksum_at(&s), 2) != 0);
}

static int answer(void)
{
	uint8_t *exact = malloc((size_t)batch.len[0] + !batch.len[0]);
	struct superframe super;
	int err;

	memcpy(exact, arena.base, (size_t)batch.len[0]);
	err = segment_check(&super, exact, &batch, 0);
	/* Every segment of an accepted superframe must be writable. */
	for (int k = 0; !err && k < super.count; k++) {
		uint8_t *headers = malloc((size_t)super.headers_len);
		struct iovec payload = segment_write(&super, k, headers);

		CHECK((uint8_t *)payload.iov_base >= exact && payload.iov_len > 0);
		CHECK((uint8_t *)payload.iov_base + payload.iov_len <= exact + batch.len[0]);
		free(headers);
	}
	free(exact);
	return err;
}

/* A superframe without a payload byte is refused; with one payload byte it is accepted. */
static void test_truncated(void)
{
	for (int round = 0; round < 60; round++) {
		struct shape s = random_shape();

		s.payload_len = 40;
		memset(&batch, 0, sizeof(batch));
		put_superframe(0, 0, &s, 10);
		for (int len = 0; len <= VXLAN_LEN + payload_at(&s) + 1; len++) {
			batch.len[0] = len;
			CHECK_EQ(answer(), len <= VXLAN_LEN + payload_at(&s) ? -EINVAL : 0);
		}
	}
}

static void test_columns_that_lie(void)
{
	static const int32_t starts[] = { INT_MIN, -1, 0, 8, 21, 22, 41, 43, 45, 61, 100, 3000, 3074, INT_MAX };
	static const int32_t sizes[] = { INT_MIN, -1, 0, 65536, INT_MAX };
	static const int32_t types[] = { FRAME_GSO_TCPV6, FRAME_GSO_UDP_L4, 2, 3, 6, -1, 0x80, 0x101, INT_MIN, INT_MAX };
	struct shape s = tcp4_of(3000);

	for (size_t k = 0; k < sizeof(starts) / sizeof(starts[0]); k++) {
		put_superframe(0, 0, &s, 1448);
		batch.csum_start[0] = starts[k];
		CHECK_EQ(answer(), -EINVAL);
	}
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		put_superframe(0, 0, &s, sizes[k]);
		CHECK_EQ(answer(), -EINVAL);
	}
	for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
		put_superframe(0, 0, &s, 1448);
		batch.gso_type[0] = types[k];
		CHECK_EQ(answer(), -EINVAL);
	}
	put_superframe(0, 0, &s, 1448);
	batch.flags[0] = 0;
	CHECK_EQ(answer(), -EINVAL);
	put_superframe(0, 0, &s, 65535);
	CHECK_EQ(answer(), 0);
}

/* Headers that contradict the columns. */
static void test_headers_that_lie(void)
{
	const struct {
		int at, value;
	} invalid[] = {
		{ 12, 0x86 }, { 13, 0x06 }, { 14, 0x65 }, { 14, 0x44 }, { 14, 0x46 }, { 14, 0x4f }, { 14, 0x40 },
		{ 20, 0x20 }, { 21, 0x01 }, { 23, 17 }, { 23, 0 }, { 46, 0x40 }, { 46, 0x00 },
	};
	struct shape s = tcp4_of(3000), far = { .version = 6, .protocol = IPPROTO_TCP, .options = 128, .payload_len = 9 };

	for (size_t k = 0; k < sizeof(invalid) / sizeof(invalid[0]); k++) {
		put_superframe(0, 0, &s, 1448);
		arena.base[VXLAN_LEN + invalid[k].at] = (uint8_t)invalid[k].value;
		CHECK_EQ(answer(), -EINVAL);
	}
	put_superframe(0, 0, &far, 4);
	CHECK_EQ(answer(), 0);
	far.options = 184; /* a header block that is too long */
	put_superframe(0, 0, &far, 4);
	CHECK_EQ(answer(), -EINVAL);
}

/* A superframe with the maximum of segments is accepted, and one with more is refused. */
static void test_most_segments(void)
{
	struct shape tcp = tcp4_of(0), udp = { .version = 6, .protocol = IPPROTO_UDP };

	for (int beyond = 0; beyond <= 1; beyond++) {
		tcp.payload_len = 100 * SEGMENTS_MAX_TCP + beyond;
		put_superframe(0, 0, &tcp, 100);
		CHECK_EQ(answer(), beyond ? -EINVAL : 0);
		udp.payload_len = SEGMENTS_MAX_UDP + beyond;
		put_superframe(0, 0, &udp, 1);
		CHECK_EQ(answer(), beyond ? -EINVAL : 0);
	}
}

/* Random header bytes cause no access beyond the end (checked by the sanitizers). */
static void test_noise(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct shape s = random_shape();

		s.payload_len = 1 + (int)random_below(300);
		memset(&batch, 0, sizeof(batch));
		put_superframe(0, 0, &s, 1 + (int)random_below(100));
		for (int flips = 1 + (int)random_below(4); flips > 0; flips--)
			arena.base[random_below((uint32_t)VXLAN_LEN + (uint32_t)payload_at(&s))] = (uint8_t)random_below(256);
		if (random_one_in(2))
			batch.csum_start[0] = (int32_t)random_below(120);
		if (random_one_in(2))
			batch.len[0] = (int32_t)random_below((uint32_t)batch.len[0] + 1);
		answer();
	}
	CHECK(1);
}

static int open_on(const char *address, int options)
{
	struct peer_row local = row_of(address, 0);
	int fd = udp_open(&local, "", options, 8 << 20, 8 << 20, 0);

	REQUIRE(fd >= 0);
	return fd;
}

/*
 * Receives the segments of entry `entry` from fd, in order and equal to the reference byte by byte.
 */
static void expect_segments(int fd, int entry, const struct shape *s, int gso_size)
{
	static uint8_t wanted[FRAME_LEN_MAX], datagram[FRAME_LEN_MAX];

	for (int k = 0; k * gso_size < s->payload_len; k++) {
		int len = reference_segment(wanted, arena.base + batch.off[entry] + VXLAN_LEN, s, gso_size, k);
		long got = readable_within(fd, 2000) ? recv(fd, datagram, sizeof(datagram), 0) : -1;

		if (!CHECK_EQ(got, VXLAN_LEN + len))
			return;
		CHECK(memcmp(datagram + VXLAN_LEN, wanted, (size_t)len) == 0);
	}
}

/* Expects one message per train: lengths, terminated by 0. */
static void expect_trains(int fd, const int32_t *wanted)
{
	static uint8_t message[FRAME_LEN_MAX];

	for (; *wanted; wanted++)
		CHECK_EQ(readable_within(fd, 2000) ? recv(fd, message, sizeof(message), 0) : -1, *wanted);
	CHECK_EQ(recv(fd, message, sizeof(message), 0), -1);
}

static void expect_frame(int fd, int32_t len)
{
	uint8_t datagram[2048];

	CHECK_EQ(readable_within(fd, 2000) ? recv(fd, datagram, sizeof(datagram), 0) : -1, len);
}

static void expect_nothing(int fd)
{
	CHECK_EQ(recv(fd, NULL, 0, 0), -1);
}

static int send_batch(int32_t count, int32_t train_max)
{
	return udp_send_batch(fds, peers, 2, arena, &batch, count, train_max, NULL, NULL, &errors);
}

/*
 * The batch has frames and superframes; one superframe is sent to two peers. Each peer gets the
 * same datagrams as with frame-by-frame sending.
 */
static void test_send(int32_t train_max)
{
	struct shape s = tcp4_of(40000), small = { .version = 6, .protocol = IPPROTO_TCP, .payload_len = 1700, .tags = 1 };

	memset(&batch, 0, sizeof(batch));
	batch.len[0] = batch.len[4] = 100;
	put_superframe(1, 1024, &s, 1398);
	describe_superframe(&batch, 2, 1024, VXLAN_LEN, &s, 1398);
	put_superframe(3, 65664, &small, 7); /* more segments than an outbox holds */
	batch.peer_idx[2] = 1;
	CHECK_EQ(send_batch(5, train_max), 0);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(batch.status[i], 0);
	expect_frame(receivers[0], 100);
	expect_segments(receivers[0], 1, &s, 1398);
	expect_segments(receivers[1], 2, &s, 1398);
	expect_segments(receivers[0], 3, &small, 7);
	expect_frame(receivers[0], 100);
	expect_nothing(receivers[0]);
	expect_nothing(receivers[1]);
}

/*
 * 47 segments of 1,452 bytes: 45 fit one train; the other two join the segments of the next
 * superframe.
 */
static void test_trains(const char *loopback)
{
	struct shape s = tcp4_of(47 * 1378);
	struct peer_row usual = peers[0];
	int fd = open_on(loopback, UDP_OPEN_RECEIVE);

	peers[0].port = port_of(fd);
	memset(&batch, 0, sizeof(batch));
	put_superframe(0, 0, &s, 1378);
	CHECK_EQ(send_batch(1, TRAIN_MAX), 0);
	expect_trains(fd, (int32_t[]){ 45 * 1452, 2 * 1452, 0 });
	put_superframe(1, 2 * 65664, &s, 1378);
	CHECK_EQ(send_batch(2, TRAIN_MAX), 0);
	expect_trains(fd, (int32_t[]){ 45 * 1452, 45 * 1452, 4 * 1452, 0 });
	s.payload_len = 10 * 1378 + 1;
	put_superframe(0, 0, &s, 1378);
	CHECK_EQ(send_batch(2, TRAIN_MAX), 0);
	expect_trains(fd, (int32_t[]){ 10 * 1452 + 75, 45 * 1452, 2 * 1452, 0 });
	peers[0] = usual;
	close(fd);
}

/* Segments larger than the path MTU are refused as a train and fragmented one by one. */
static void test_larger_than_path(void)
{
	struct shape s = tcp4_of(20000);

	memset(&batch, 0, sizeof(batch));
	put_superframe(0, 0, &s, 2000);
	CHECK_EQ(send_batch(1, TRAIN_MAX), 0);
	expect_segments(receivers[0], 0, &s, 2000);
	expect_nothing(receivers[0]);
}

/*
 * An invalid superframe, or one without a route, reports its error and does not affect adjacent
 * entries.
 */
static void test_failures(int own)
{
	struct peer_row usual = peers[1];
	struct shape s = tcp4_of(20000);

	memset(&batch, 0, sizeof(batch));
	batch.len[0] = batch.len[2] = 100;
	put_superframe(1, 1024, &s, 1398);
	batch.gso_type[1] = FRAME_GSO_TCPV6;
	CHECK_EQ(send_batch(3, TRAIN_MAX), 1);
	CHECK_EQ(batch.status[1], -EINVAL);
	batch.off[1] = ARENA_LEN - 100;
	CHECK_EQ(send_batch(3, TRAIN_MAX), 1);
	CHECK_EQ(batch.status[1], -EFAULT);
	for (int k = 0; k < 4; k++)
		expect_frame(receivers[0], 100);
	if (own) {
		peers[1] = row_of("203.0.113.1", 4789);
		put_superframe(1, 1024, &s, 1398);
		batch.peer_idx[1] = 1;
		CHECK_EQ(send_batch(3, TRAIN_MAX), 1);
		CHECK_EQ(batch.status[1], -ENETUNREACH);
		expect_frame(receivers[0], 100);
		expect_frame(receivers[0], 100);
		peers[1] = usual;
	}
	expect_nothing(receivers[0]);
}

static void test_sockets(const char *loopback, int own)
{
	int ipv6 = strchr(loopback, ':') != NULL;

	memset(fds, 0xff, sizeof(fds));
	fds[ipv6 * SOURCE_SOCKETS] = open_on(loopback, UDP_OPEN_RECVERR);
	for (int k = 0; k < 2; k++) {
		receivers[k] = open_on(loopback, 0);
		peers[k] = row_of(loopback, port_of(receivers[k]));
	}
	test_send(TRAIN_MAX);
	test_send(1);
	test_trains(loopback);
	if (own)
		test_larger_than_path();
	test_failures(own && !ipv6);
	for (int k = 0; k < 2; k++)
		close(receivers[k]);
	close(fds[ipv6 * SOURCE_SOCKETS]);
}

int main(void)
{
	int own = own_network() && link_mtu("lo", 1500) == 0;

	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
	test_random();
	test_wrong_stays_wrong();
	test_truncated();
	test_columns_that_lie();
	test_headers_that_lie();
	test_most_segments();
	test_noise();
	test_sockets("127.0.0.1", own);
	test_sockets("::1", own);
	free(arena.base);
	return check_report();
}
