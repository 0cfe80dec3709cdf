/* SPDX-License-Identifier: MIT
 *
 * Linux: a classic BPF program selects the socket of a SO_REUSEPORT group.
 *
 * The program can use the source address of a datagram. It returns an index in bind order, which
 * includes the first socket, bound before it had SO_REUSEPORT. With an invalid index the kernel
 * selects any socket of the group. Replacing a program under traffic loses no datagram. A train
 * arrives whole at a selected socket with UDP_GRO and split at a socket without UDP_GRO.
 */
#include "check.h"
#include "net.h"

#include <stdlib.h>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdatomic.h>

#include <linux/filter.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define MEMBERS 3
#define SEGMENT 1000
#define SEGMENTS 8
#define SENT 20000
#define IN_FLIGHT 64
#define ROOM (4 << 20)

/* Offsets from the network header of the word that differs between the sources of a family. */
#define SOURCE4 (SKF_NET_OFF + 12)
#define SOURCE6 (SKF_NET_OFF + 20)

static int open_on(const char *address, uint16_t port, int options)
{
	struct peer_row local = row_of(address, port);

	return udp_open(&local, "", options, ROOM, 0, 0);
}

static void open_group(const char *address, int *members)
{
	for (int m = 0; m < MEMBERS; m++) {
		int share = m == 0 ? UDP_OPEN_SHARE : UDP_OPEN_JOIN;
		int gro = m == 2 ? 0 : UDP_OPEN_NO_GRO;

		members[m] = open_on(address, m == 0 ? 0 : port_of(members[0]), UDP_OPEN_RECEIVE | share | gro);
		REQUIRE(members[m] >= 0);
	}
}

static void close_group(const int *members)
{
	for (int m = 0; m < MEMBERS; m++)
		close(members[m]);
}

/*
 * Attaches a program: member `place` for the source with this `word`, `others` for other sources.
 */
static int attach(int fd, int offset, uint32_t word, uint32_t place, uint32_t others)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, word, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, place),
		BPF_STMT(BPF_RET | BPF_K, others),
	};

	return udp_select(fd, (const uint8_t *)program, sizeof(program));
}

static void send_to(int sender, const char *address, uint16_t port, const void *bytes, size_t len)
{
	struct peer_row to = row_of(address, port);
	struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	memcpy(&ipv4.sin_addr, to.addr, 4);
	memcpy(&ipv6.sin6_addr, to.addr, 16);
	if (to.family == AF_INET)
		CHECK_EQ(sendto(sender, bytes, len, 0, (struct sockaddr *)&ipv4, sizeof(ipv4)), len);
	else
		CHECK_EQ(sendto(sender, bytes, len, 0, (struct sockaddr *)&ipv6, sizeof(ipv6)), len);
}

/*
 * Returns the member that received one byte; -1 none. Loopback delivers before sendto(2) returns.
 */
static int receiver(const int *members)
{
	uint8_t byte;

	for (int m = 0; m < MEMBERS; m++)
		if (recv(members[m], &byte, 1, 0) == 1)
			return m;
	return -1;
}

static void check_choice(const char *group, const char *source, const char *stranger, int offset, uint32_t word)
{
	int members[MEMBERS], peer, other;
	uint16_t port;

	open_group(group, members);
	port = port_of(members[0]);
	peer = open_on(source, 0, 0);
	other = open_on(stranger, 0, 0);
	REQUIRE(peer >= 0 && other >= 0);
	for (uint32_t place = 0; place < MEMBERS; place++) {
		uint32_t others = (place + 1) % MEMBERS;

		CHECK_EQ(attach(members[place], offset, word, place, others), 0);
		send_to(peer, group, port, "x", 1);
		CHECK_EQ(receiver(members), (int)place);
		send_to(other, group, port, "x", 1);
		CHECK_EQ(receiver(members), (int)others);
	}
	CHECK_EQ(attach(members[0], offset, word, MEMBERS, MEMBERS), 0);
	send_to(peer, group, port, "x", 1);
	CHECK(receiver(members) >= 0);
	close(peer);
	close(other);
	close_group(members);
}

static void check_trains(void)
{
	static uint8_t train[SEGMENTS * SEGMENT], buffer[65536];
	int members[MEMBERS], sender = open_on("127.0.0.2", 0, 0);

	open_group("127.0.0.1", members);
	REQUIRE(setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &(int){ SEGMENT }, sizeof(int)) == 0);
	CHECK_EQ(attach(members[0], SOURCE4, 0x7f000002, 2, 0), 0);
	send_to(sender, "127.0.0.1", port_of(members[0]), train, sizeof(train));
	CHECK_EQ(recv(members[2], buffer, sizeof(buffer), 0), sizeof(train));
	CHECK_EQ(attach(members[0], SOURCE4, 0x7f000002, 1, 0), 0);
	send_to(sender, "127.0.0.1", port_of(members[0]), train, sizeof(train));
	for (int k = 0; k < SEGMENTS; k++)
		CHECK_EQ(recv(members[1], buffer, sizeof(buffer), 0), SEGMENT);
	CHECK_EQ(recv(members[1], buffer, sizeof(buffer), 0), -1);
	close(sender);
	close_group(members);
}

static atomic_int received;

struct flow {
	int sender;
	uint16_t port;
	atomic_int done;
};

/*
 * Datagrams in flight never exceed a receive buffer, so any loss is caused by the socket selection.
 */
static void *send_all(void *argument)
{
	struct flow *flow = argument;

	for (int sent = 0; sent < SENT; sent++) {
		for (int spins = 0; sent - atomic_load(&received) >= IN_FLIGHT && spins < 2000000; spins++)
			sched_yield();
		send_to(flow->sender, "127.0.0.1", flow->port, "x", 1);
	}
	atomic_store(&flow->done, 1);
	return NULL;
}

static void check_replacement(void)
{
	int members[MEMBERS], used[MEMBERS] = { 0 }, failed = 0;
	struct flow flow = { .sender = open_on("127.0.0.2", 0, 0) };
	pthread_t thread;

	open_group("127.0.0.1", members);
	flow.port = port_of(members[0]);
	CHECK_EQ(attach(members[0], SOURCE4, 0x7f000002, 0, 0), 0);
	REQUIRE(pthread_create(&thread, NULL, send_all, &flow) == 0);
	for (uint32_t round = 0;; round++) {
		int done = atomic_load(&flow.done), m, any = 0;

		failed |= attach(members[0], SOURCE4, 0x7f000002, round % MEMBERS, 0);
		while ((m = receiver(members)) >= 0) {
			used[m]++;
			atomic_fetch_add(&received, 1);
			any = 1;
		}
		if (done && !any)
			break;
	}
	pthread_join(thread, NULL);
	CHECK_EQ(failed, 0);
	CHECK_EQ(atomic_load(&received), SENT);
	for (int m = 0; m < MEMBERS; m++) {
		CHECK(used[m] > 0);
		CHECK_EQ(udp_drops(members[m]), 0);
	}
	close(flow.sender);
	close_group(members);
}

/* Loopback has one IPv6 address; a second one requires a separate namespace. */
static void check_ipv6(void)
{
	if (unshare(CLONE_NEWNET) || link_up("lo") || system("ip addr add fd00::2/128 dev lo nodad 2>/dev/null"))
		return;
	check_choice("::1", "fd00::2", "::1", SOURCE6, 2);
}

int main(void)
{
	check_choice("127.0.0.1", "127.0.0.2", "127.0.0.3", SOURCE4, 0x7f000002);
	check_trains();
	check_replacement();
	check_ipv6();
	return check_report();
}
