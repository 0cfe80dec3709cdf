/* SPDX-License-Identifier: MIT
 *
 * Linux: UDP over IPv6 with a checksum of zero (RFC 6935).
 *
 * A socket with UDP_NO_CHECK6_TX sends such a datagram. The datagram is dropped unless the
 * receiving socket has UDP_NO_CHECK6_RX. Over IPv4 a checksum of zero is always accepted.
 */
#include "check.h"
#include "net.h"

#include <netinet/in.h>

static int open_on(const char *loopback, int options)
{
	struct peer_row local = row_of(loopback, 0);
	int fd = udp_open(&local, "", options, 0, 0, 0);

	REQUIRE(fd >= 0);
	return fd;
}

/* Sends a datagram and returns whether it arrived. */
static int arrives(int sender, int receiver)
{
	struct sockaddr_in6 to;
	socklen_t len = sizeof(to);
	uint8_t byte;

	getsockname(receiver, (struct sockaddr *)&to, &len);
	CHECK_EQ(sendto(sender, "x", 1, 0, (struct sockaddr *)&to, len), 1);
	return readable_within(receiver, 200) && recv(receiver, &byte, 1, 0) == 1;
}

int main(void)
{
	CHECK(arrives(open_on("::1", UDP_OPEN_NO_CHECKSUM), open_on("::1", UDP_OPEN_RECEIVE)));
	CHECK(!arrives(open_on("::1", UDP_OPEN_NO_CHECKSUM), open_on("::1", 0)));
	CHECK(arrives(open_on("::1", 0), open_on("::1", 0)));
	CHECK(arrives(open_on("127.0.0.1", UDP_OPEN_NO_CHECKSUM), open_on("127.0.0.1", 0)));
	return check_report();
}
