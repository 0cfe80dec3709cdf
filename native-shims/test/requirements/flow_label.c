/* SPDX-License-Identifier: MIT
 *
 * Linux: automatic IPv6 flow labels differ per source port.
 *
 * All datagrams of a source port have the same label and another port has a different one, so
 * routers that hash only the label distribute the load of the pool's sockets, too. This is the
 * default of net.ipv6.auto_flowlabels.
 */
#include "check.h"
#include "net.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>

#define SOCKETS 64
#define EACH 3

/* Label of the next IPv6 datagram from this source port; -1 none. */
static int32_t label_from(int tap, uint16_t port)
{
	uint8_t packet[256];

	while (readable_within(tap, 500)) {
		struct sockaddr_ll from;
		socklen_t from_len = sizeof(from);
		long len = recvfrom(tap, packet, sizeof(packet), 0, (struct sockaddr *)&from, &from_len);

		if (len >= 48 && from.sll_pkttype != PACKET_OUTGOING && packet[6] == IPPROTO_UDP &&
		    (packet[40] << 8 | packet[41]) == port)
			return (packet[1] & 0xf) << 16 | packet[2] << 8 | packet[3];
	}
	return -1;
}

static int tap_on_lo(void)
{
	struct sockaddr_ll lo = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IPV6) };
	int tap = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IPV6));

	lo.sll_ifindex = (int)if_nametoindex("lo");
	REQUIRE(tap >= 0 && bind(tap, (struct sockaddr *)&lo, sizeof(lo)) == 0);
	return tap;
}

static int32_t label_of_socket(int tap, const struct sockaddr_in6 *to)
{
	struct peer_row local = row_of("::1", 0);
	int fd = udp_open(&local, "", UDP_OPEN_RECVERR | UDP_OPEN_DF, 0, 0, 64);
	int32_t label = -1;

	REQUIRE(fd >= 0);
	for (int k = 0; k < EACH; k++) {
		int32_t next;

		CHECK_EQ(sendto(fd, "x", 1, 0, (const struct sockaddr *)to, sizeof(*to)), 1);
		next = label_from(tap, port_of(fd));
		CHECK(next > 0 && (k == 0 || next == label));
		label = next;
	}
	close(fd);
	return label;
}

int main(void)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct peer_row local = row_of("::1", 0);
	int32_t labels[SOCKETS];
	int receiver, tap, different = 0;

	if (!own_network())
		SKIP("needs root");
	receiver = udp_open(&local, "", UDP_OPEN_RECEIVE, 0, 0, 0);
	REQUIRE(receiver >= 0);
	to.sin6_port = htons(port_of(receiver));
	tap = tap_on_lo();
	for (int k = 0; k < SOCKETS; k++) {
		int is_new = 1;

		labels[k] = label_of_socket(tap, &to);
		for (int other = 0; other < k; other++)
			is_new &= labels[other] != labels[k];
		different += is_new;
	}
	CHECK(different >= SOCKETS - 2); /* two of 2^20 labels may collide */
	return check_report();
}
