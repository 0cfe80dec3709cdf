/* SPDX-License-Identifier: MIT
 *
 * Path errors reported by udp_read_errors() and by a failed udp_send_batch().
 *
 * The path is that of router.h; forged messages are sent over lo.
 */
#include "check.h"
#include "router.h"

#include <limits.h>

#define DATAGRAM_LEN 1400
#define ARENA_LEN (2 * DATAGRAM_LEN)
#define TRAIN_MAX 64
#define PORT 4789

static struct arena arena;
static struct batch batch;
static struct path_errors errors;
static struct peer_row peers[2];
static int32_t fds[SEND_SOCKETS];
static int sender, ipv6;

static int open_on(const char *address, int options)
{
	struct peer_row local = row_of(address, 0);
	int fd = udp_open(&local, "", options, 0, 0, 0);

	REQUIRE(fd >= 0);
	return fd;
}

/*
 * Sends to peer peer_idx count datagrams of len bytes, with DF set. Returns the number of failures.
 */
static int send_to(int32_t peer_idx, int32_t count, int32_t len)
{
	memset(&batch, 0, sizeof(batch));
	for (int32_t i = 0; i < count; i++) {
		batch.len[i] = len;
		batch.peer_idx[i] = peer_idx;
	}
	return udp_send_batch(fds, peers, 2, arena, &batch, count, TRAIN_MAX, NULL, NULL, &errors);
}

static int in_error_within(int fd, int ms)
{
	struct pollfd wanted = { .fd = fd };

	return poll(&wanted, 1, ms) == 1 && wanted.revents & POLLERR;
}

static void expect_row(int32_t k, const char *address, int port, int mtu, int origin)
{
	const struct path_error *row = &errors.rows[k];
	struct peer_row wanted = row_of(address, 0);

	CHECK_EQ(row->family, wanted.family);
	CHECK_EQ(row->port, port);
	CHECK(memcmp(row->addr, wanted.addr, sizeof(row->addr)) == 0);
	CHECK_EQ(row->scope_id, 0);
	CHECK_EQ(row->mtu, mtu);
	CHECK_EQ(row->origin, origin);
}

/*
 * A full batch of datagrams larger than the device MTU fails and adds one path error. Over IPv4 the
 * kernel does not report the port.
 */
static void test_own_device(const char *far)
{
	memset(&errors, 0, sizeof(errors));
	CHECK_EQ(send_to(0, BATCH_CAP, 1600), BATCH_CAP);
	for (int32_t i = 0; i < BATCH_CAP; i++)
		CHECK_EQ(batch.status[i], -EMSGSIZE);
	CHECK_EQ(errors.count, 1);
	expect_row(0, far, ipv6 ? PORT : 0, 1500, PATH_ERROR_LOCAL);
	udp_read_errors(sender, &errors);
	CHECK_EQ(errors.count, 1);
	CHECK(!in_error_within(sender, 0));
}

static void test_router(const char *far)
{
	memset(&errors, 0, sizeof(errors));
	CHECK_EQ(send_to(0, 1, 1400), 0);
	CHECK(in_error_within(sender, 2000));
	CHECK_EQ(udp_read_errors(sender, &errors), 1);
	CHECK_EQ(errors.count, 1);
	expect_row(0, far, PORT, ROUTER_MTU, PATH_ERROR_ICMP);
	CHECK(!in_error_within(sender, 0));
	CHECK_EQ(udp_read_errors(sender, &errors), 0);
}

/* A pending error fails a send to another peer: the send is retried, and the report is kept. */
static void test_failed_send_keeps_it(const char *far, int receiver)
{
	uint8_t datagram[256];

	memset(&errors, 0, sizeof(errors));
	CHECK_EQ(send_to(0, 1, 1400), 0);
	CHECK(in_error_within(sender, 2000));
	CHECK_EQ(send_to(1, 1, 200), 0);
	CHECK_EQ(errors.count, 1);
	expect_row(0, far, PORT, ROUTER_MTU, PATH_ERROR_ICMP);
	CHECK(readable_within(receiver, 2000));
	CHECK_EQ(recv(receiver, datagram, sizeof(datagram), 0), 200);
	CHECK(!in_error_within(sender, 0));
}

/*
 * A train that fails because of an earlier ICMP error does not lose the path error. The datagrams
 * of the train are sent.
 */
static void test_failed_train_keeps_it(const char *far, int receiver)
{
	uint8_t datagram[256];

	memset(&errors, 0, sizeof(errors));
	CHECK_EQ(send_to(0, 1, 1400), 0);
	CHECK(in_error_within(sender, 2000));
	CHECK_EQ(send_to(1, 3, 200), 0);
	udp_read_errors(sender, &errors);
	CHECK_EQ(errors.count, 1);
	expect_row(0, far, PORT, ROUTER_MTU, PATH_ERROR_ICMP);
	for (int k = 0; k < 3; k++) {
		CHECK(readable_within(receiver, 2000));
		CHECK_EQ(recv(receiver, datagram, sizeof(datagram), 0), 200);
	}
}

/* A "port unreachable" message is read but adds no path error. */
static void test_other_errors(const char *near)
{
	int closed = open_on(near, 0);
	struct peer_row usual = peers[1];

	peers[1].port = port_of(closed);
	close(closed);
	memset(&errors, 0, sizeof(errors));
	CHECK_EQ(send_to(1, 1, 200), 0);
	CHECK(in_error_within(sender, 2000));
	CHECK_EQ(udp_read_errors(sender, &errors), 1);
	CHECK_EQ(errors.count, 0);
	peers[1] = usual;
}

/* options: UDP_OPEN_RECEIVE for a sender whose errors also have the control messages of a receiver. */
static void test_family(const char *near, const char *far, int options)
{
	int receiver = open_on(near, 0);

	ipv6 = strchr(near, ':') != NULL;
	memset(fds, 0xff, sizeof(fds));
	sender = fds[ipv6 * SOURCE_SOCKETS] = open_on(near, UDP_OPEN_RECVERR | UDP_OPEN_DF | options);
	peers[0] = row_of(far, PORT);
	peers[1] = row_of(near, port_of(receiver));
	test_own_device(far);
	test_router(far);
	test_failed_send_keeps_it(far, receiver);
	test_failed_train_keeps_it(far, receiver);
	test_other_errors(near);
	close(receiver);
	close(sender);
}

/*
 * A path error contains the destination that the ICMP message quotes, even if nothing was sent
 * there. Messages beyond the capacity are read and discarded.
 */
static void test_forged(void)
{
	char quoted[24];

	sender = open_on("127.0.0.1", UDP_OPEN_RECVERR | UDP_OPEN_DF);
	memset(&errors, 0, sizeof(errors));
	for (int k = 0; k < 40; k++) {
		snprintf(quoted, sizeof(quoted), "192.0.2.%d", k);
		REQUIRE(forge_too_big(port_of(sender), quoted, (uint16_t)(1000 + k), (uint16_t)(600 + k)) == 0);
		REQUIRE(forge_too_big(port_of(sender), quoted, (uint16_t)(1000 + k), (uint16_t)(600 + k)) == 0);
	}
	CHECK(in_error_within(sender, 0));
	CHECK_EQ(udp_read_errors(sender, &errors), 80);
	CHECK_EQ(errors.count, PATH_ERRORS_CAP);
	for (int k = 0; k < PATH_ERRORS_CAP; k++) {
		snprintf(quoted, sizeof(quoted), "192.0.2.%d", k);
		expect_row(k, quoted, 1000 + k, 600 + k, PATH_ERROR_ICMP);
	}
	CHECK(!in_error_within(sender, 0));
}

/*
 * If the count of path errors is invalid or at its maximum, no row is written and the count stays
 * unchanged.
 */
static void test_count_that_lies(void)
{
	static const int32_t counts[] = { -1, INT_MIN, PATH_ERRORS_CAP, PATH_ERRORS_CAP + 1, INT_MAX };

	for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
		struct path_errors *exact = calloc(1, sizeof(*exact));

		exact->count = counts[k];
		REQUIRE(forge_too_big(port_of(sender), "192.0.2.1", PORT, 600) == 0);
		CHECK_EQ(udp_read_errors(sender, exact), 1);
		CHECK_EQ(exact->count, counts[k]);
		free(exact);
	}
	close(sender);
}

int main(void)
{
	pid_t router;

	if (!own_network())
		SKIP("needs root");
	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
	test_forged();
	test_count_that_lies();
	router = start_router();
	if (!router)
		SKIP("needs iproute2 and veth");
	test_family("10.0.0.1", FAR_IPV4, 0);
	test_family("fd00::1", FAR_IPV6, 0);
	test_family("10.0.0.1", FAR_IPV4, UDP_OPEN_RECEIVE);
	test_family("fd00::1", FAR_IPV6, UDP_OPEN_RECEIVE);
	stop_router(router);
	free(arena.base);
	return check_report();
}
