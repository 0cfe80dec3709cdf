/* SPDX-License-Identifier: MIT
 *
 * Linux: a socket that gets SO_REUSEPORT after bind can start a group.
 *
 * Other sockets may join, and the kernel distributes datagrams over the group by source address and
 * port, so that all datagrams of a sender reach the same socket. A socket bound without
 * SO_REUSEPORT is refused while the group exists. The threads of one daemon can thus share a port.
 * A second daemon is refused, because its first socket binds without SO_REUSEPORT. The same holds
 * for IPv6.
 */
#include "check.h"
#include "net.h"

#include <netinet/in.h>

#define MEMBERS 3
#define SENDERS 60
#define ROUNDS 3

static int open_on(const char *loopback, uint16_t port, int options)
{
	struct peer_row local = row_of(loopback, port);

	return udp_open(&local, "", options, 0, 0, 0);
}

/* Returns the member that receives this socket's datagram; -1 none. */
static int receiver_of(int sender, const int *members)
{
	struct sockaddr_in6 to;
	socklen_t len = sizeof(to);
	uint8_t byte;

	getsockname(members[0], (struct sockaddr *)&to, &len);
	CHECK_EQ(sendto(sender, "x", 1, 0, (struct sockaddr *)&to, len), 1);
	for (int m = 0; m < MEMBERS; m++)
		if (recv(members[m], &byte, 1, 0) == 1)
			return m;
	return -1;
}

static void check_family(const char *loopback)
{
	int members[MEMBERS], used[MEMBERS] = { 0 };
	uint16_t port;

	members[0] = open_on(loopback, 0, UDP_OPEN_RECEIVE | UDP_OPEN_SHARE);
	REQUIRE(members[0] >= 0);
	port = port_of(members[0]);
	for (int m = 1; m < MEMBERS; m++) {
		members[m] = open_on(loopback, port, UDP_OPEN_RECEIVE | UDP_OPEN_JOIN);
		REQUIRE(members[m] >= 0);
	}
	CHECK_EQ(open_on(loopback, port, UDP_OPEN_RECEIVE | UDP_OPEN_SHARE), -EADDRINUSE);
	CHECK_EQ(open_on(loopback, port, UDP_OPEN_RECEIVE), -EADDRINUSE);
	for (int s = 0; s < SENDERS; s++) {
		int sender = open_on(loopback, 0, 0);
		int first = receiver_of(sender, members);

		if (!CHECK(first >= 0))
			return;
		used[first]++;
		for (int round = 1; round < ROUNDS; round++)
			CHECK_EQ(receiver_of(sender, members), first);
		close(sender);
	}
	for (int m = 0; m < MEMBERS; m++) {
		CHECK(used[m] > 0);
		close(members[m]);
	}
}

int main(void)
{
	check_family("127.0.0.1");
	check_family("::1");
	return check_report();
}
