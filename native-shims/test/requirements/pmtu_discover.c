/* SPDX-License-Identifier: MIT
 *
 * Linux: fragmentation with PMTUDISC_DONT and PMTUDISC_PROBE.
 *
 * With PMTUDISC_DONT datagrams are sent with DF clear; a datagram larger than the path MTU is
 * fragmented and arrives whole. With PMTUDISC_PROBE datagrams are sent with DF set; a datagram
 * larger than the path MTU is refused with EMSGSIZE. The path is lo with an MTU of 1,500 bytes.
 */
#include "check.h"
#include "net.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>

static const uint8_t datagram[3000] = { 1, 2, 3 };

/* Flags and fragment offset of the next IPv4 packet captured on lo; -1 none. */
static int next_fragment_field(int tap)
{
	uint8_t packet[2048];

	while (readable_within(tap, 200)) {
		struct sockaddr_ll from;
		socklen_t from_len = sizeof(from);
		long len = recvfrom(tap, packet, sizeof(packet), 0, (struct sockaddr *)&from, &from_len);

		if (len >= 20 && from.sll_pkttype != PACKET_OUTGOING)
			return packet[6] << 8 | packet[7];
	}
	return -1;
}

static int open_pair(const char *loopback, int options, int *receiver)
{
	struct peer_row local = row_of(loopback, 0);
	int sender = udp_open(&local, "", options, 0, 0, 0);

	*receiver = udp_open(&local, "", UDP_OPEN_RECEIVE, 0, 0, 0);
	REQUIRE(sender >= 0 && *receiver >= 0);
	return sender;
}

static long send_len(int fd, const char *loopback, uint16_t port, size_t len)
{
	struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	if (strchr(loopback, ':'))
		return sendto(fd, datagram, len, 0, (struct sockaddr *)&ipv6, sizeof(ipv6)) < 0 ? -errno : (long)len;
	inet_pton(AF_INET, loopback, &ipv4.sin_addr);
	return sendto(fd, datagram, len, 0, (struct sockaddr *)&ipv4, sizeof(ipv4)) < 0 ? -errno : (long)len;
}

static void test_family(const char *loopback)
{
	uint8_t buffer[4000];
	int receiver, sender = open_pair(loopback, UDP_OPEN_RECVERR, &receiver);

	CHECK_EQ(send_len(sender, loopback, port_of(receiver), sizeof(datagram)), sizeof(datagram));
	CHECK_EQ(readable_within(receiver, 2000) ? recv(receiver, buffer, sizeof(buffer), 0) : -1, sizeof(datagram));
	CHECK(memcmp(buffer, datagram, sizeof(datagram)) == 0);
	close(sender);
	close(receiver);
	sender = open_pair(loopback, UDP_OPEN_RECVERR | UDP_OPEN_DF, &receiver);
	CHECK_EQ(send_len(sender, loopback, port_of(receiver), sizeof(datagram)), -EMSGSIZE);
	CHECK_EQ(send_len(sender, loopback, port_of(receiver), 1400), 1400);
	CHECK_EQ(readable_within(receiver, 2000) ? recv(receiver, buffer, sizeof(buffer), 0) : -1, 1400);
	close(sender);
	close(receiver);
}

static void test_df_on_the_wire(void)
{
	struct sockaddr_ll lo = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	int tap = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP)), sender, receiver;

	lo.sll_ifindex = (int)if_nametoindex("lo");
	REQUIRE(tap >= 0 && bind(tap, (struct sockaddr *)&lo, sizeof(lo)) == 0);
	sender = open_pair("127.0.0.1", 0, &receiver);
	send_len(sender, "127.0.0.1", port_of(receiver), 1400);
	CHECK_EQ(next_fragment_field(tap), 0);
	send_len(sender, "127.0.0.1", port_of(receiver), 1600);
	CHECK_EQ(next_fragment_field(tap), 0x2000); /* more fragments, DF clear */
	CHECK_EQ(next_fragment_field(tap), 1480 / 8);
	close(sender);
	close(receiver);
	sender = open_pair("127.0.0.1", UDP_OPEN_DF, &receiver);
	send_len(sender, "127.0.0.1", port_of(receiver), 1400);
	CHECK_EQ(next_fragment_field(tap), 0x4000);
	close(sender);
	close(receiver);
	close(tap);
}

int main(void)
{
	if (!own_network())
		SKIP("needs root");
	REQUIRE(link_mtu("lo", 1500) == 0);
	test_family("127.0.0.1");
	test_family("::1");
	test_df_on_the_wire();
	return check_report();
}
