/* SPDX-License-Identifier: MIT
 *
 * Linux: UDP_GRO joins only datagrams of equal TOS or traffic class, including ECN bits.
 *
 * The value in a train's control message therefore holds for each of its datagrams. The test also
 * requires that two equal datagrams waiting together are joined; otherwise it would prove nothing.
 *
 *     near 10.0.0.1, fd00::1 ── veth, GRO on and slow ── far 10.0.0.2, fd00::2 (own namespace)
 */
#include "check.h"
#include "net.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define LEN 200
#define NEAR_MAC "02:00:00:00:00:01"

/* GRO holds datagrams for 100 ms, so all datagrams sent meanwhile can join. */
static const char *const near_setup =
	"set -e; exec 2>/dev/null; ip link add near address " NEAR_MAC " type veth peer name far netns %d;"
	"ip address add 10.0.0.1/24 dev near; ip address add fd00::1/64 dev near nodad; ip link set near up;"
	"mount -t sysfs none /sys; cd /sys/class/net/near;"
	"echo 100000000 >gro_flush_timeout; echo 1000 >napi_defer_hard_irqs";

static const char *const far_setup =
	"set -e; exec 2>/dev/null; ip address add 10.0.0.2/24 dev far; ip address add fd00::2/64 dev far nodad;"
	"ip link set far up;" WAIT_UP("far")
	"ip neighbour add 10.0.0.1 lladdr " NEAR_MAC " dev far; ip neighbour add fd00::1 lladdr " NEAR_MAC " dev far";

/* Sending order: pairs of equal values, and values that differ from both adjacent ones. */
static const uint8_t sent_tos[] = { 0, 0, 0xb8, 0, 1, 1, 2, 3, 3, 0x20, 0x24 };
#define SENT sizeof(sent_tos)

/*
 * cmd: ETHTOOL_SGRO or ETHTOOL_STSO. veth does GRO only if the other end of the link has TSO off.
 */
static int set_offload(const char *name, uint32_t cmd, uint32_t on)
{
	struct ethtool_value value = { .cmd = cmd, .data = on };
	struct ifreq interface = { .ifr_data = (char *)&value };

	strncpy(interface.ifr_name, name, IFNAMSIZ - 1);
	return ioctl_interface(SIOCETHTOOL, &interface);
}

/* Sends the datagrams one by one from an address of the far side. */
static int send_all(const char *from, const char *to, uint16_t port)
{
	struct peer_row local = row_of(from, 0);
	struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int is_ipv6 = inet_pton(AF_INET6, to, &ipv6.sin6_addr) == 1, fd = udp_open(&local, "", UDP_OPEN_DF, 0, 0, 0);
	static const uint8_t bytes[LEN];

	inet_pton(AF_INET, to, &ipv4.sin_addr);
	if (connect(fd, is_ipv6 ? (void *)&ipv6 : (void *)&ipv4, is_ipv6 ? sizeof(ipv6) : sizeof(ipv4)))
		return -errno;
	for (size_t k = 0; k < SENT; k++) {
		int tos = sent_tos[k];

		if (setsockopt(fd, is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, is_ipv6 ? IPV6_TCLASS : IP_TOS, &tos, sizeof(tos)) ||
		    send(fd, bytes, LEN, 0) != LEN)
			return -errno;
	}
	return close(fd);
}

static void be_far_side(int from_peer, int to_peer)
{
	uint16_t ports[2];

	_exit(unshare(CLONE_NEWNET) || write(to_peer, "", 1) != 1 || read(from_peer, ports, sizeof(ports)) != sizeof(ports) ||
	      system(far_setup) || set_offload("far", ETHTOOL_STSO, 0) || send_all("10.0.0.2", "10.0.0.1", ports[0]) ||
	      send_all("fd00::2", "fd00::1", ports[1]));
}

/* Receives the next message. Returns its number of datagrams, 0 for none, and its TOS. */
static long receive(int fd, int *tos)
{
	static uint8_t buffer[65536];
	_Alignas(struct cmsghdr) uint8_t control[256];
	struct iovec iov = { buffer, sizeof(buffer) };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	long len = readable_within(fd, 2000) ? recvmsg(fd, &header, 0) : 0;

	*tos = -1;
	for (struct cmsghdr *c = len > 0 ? CMSG_FIRSTHDR(&header) : NULL; c; c = CMSG_NXTHDR(&header, c))
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			*tos = *CMSG_DATA(c);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
			memcpy(tos, CMSG_DATA(c), sizeof(*tos));
	return len / LEN;
}

static void expect_all(int fd)
{
	int joined = 0;

	for (size_t k = 0; k < SENT;) {
		int tos;
		long count = receive(fd, &tos);

		if (!CHECK(count > 0 && k + (size_t)count <= SENT))
			return;
		joined += count > 1;
		for (; count > 0; count--)
			CHECK_EQ(tos, sent_tos[k++]);
	}
	CHECK(joined > 0);
}

static int receiver(const char *address)
{
	struct peer_row local = row_of(address, 0);
	int fd = udp_open(&local, "", UDP_OPEN_RECEIVE, 0, 0, 0), ipv6 = strchr(address, ':') != NULL, on = 1;

	REQUIRE(fd >= 0);
	REQUIRE(setsockopt(fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, ipv6 ? IPV6_RECVTCLASS : IP_RECVTOS, &on, sizeof(on)) == 0);
	return fd;
}

int main(void)
{
	int to_peer[2], from_peer[2], fds[2], status;
	char command[512];
	uint16_t ports[2];
	pid_t child;

	if (!own_network() || unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		SKIP("needs root");
	REQUIRE(pipe(to_peer) == 0 && pipe(from_peer) == 0);
	child = fork();
	if (child == 0)
		be_far_side(to_peer[0], from_peer[1]);
	REQUIRE(read(from_peer[0], command, 1) == 1);
	snprintf(command, sizeof(command), near_setup, child);
	if (system(command) || set_offload("near", ETHTOOL_SGRO, 1)) {
		kill(child, SIGKILL);
		SKIP("needs iproute2, and veth that does GRO");
	}
	fds[0] = receiver("10.0.0.1");
	fds[1] = receiver("fd00::1");
	ports[0] = port_of(fds[0]);
	ports[1] = port_of(fds[1]);
	REQUIRE(write(to_peer[1], ports, sizeof(ports)) == sizeof(ports));
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	expect_all(fds[0]);
	expect_all(fds[1]);
	return check_report();
}
