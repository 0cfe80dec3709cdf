/* SPDX-License-Identifier: MIT
 *
 * A path whose MTU is below that of its first link.
 *
 * A router in a separate namespace is reached over a veth and forwards to a link with a smaller
 * MTU, behind which there is no host. It answers larger packets by ICMP.
 *
 *   this process: near ── veth ── hop :router: thin (ROUTER_MTU) ── …
 *   10.0.0.1, fd00::1             10.0.0.2, fd00::2
 *   1,500 bytes                   10.9.0.0/24, fd09::/64 behind thin
 */
#ifndef VTEPD_TEST_ROUTER_H
#define VTEPD_TEST_ROUTER_H

#include "net.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define ROUTER_MTU 1300
#define ROUTER_MTU_TEXT "1300"

/* Addresses behind the router, at which no host answers. */
#define FAR_IPV4 "10.9.0.7"
#define FAR_IPV6 "fd09::7"

#define NEAR_MAC "02:00:00:00:00:01"
#define HOP_MAC "02:00:00:00:00:02"

/* ICMP is not rate-limited, so every oversized packet is answered. Neighbours are static. */
static const char *const router_setup =
	"set -e; exec 2>/dev/null; cd /proc/sys/net; echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding;"
	"echo 0 >ipv4/icmp_ratelimit; echo 0 >ipv6/icmp/ratelimit;"
	"ip link add thin mtu " ROUTER_MTU_TEXT " type veth peer name thinner mtu " ROUTER_MTU_TEXT ";"
	"ip address add 10.0.0.2/24 dev hop; ip address add fd00::2/64 dev hop nodad;"
	"ip address add 10.9.0.1/24 dev thin; ip address add fd09::1/64 dev thin nodad;"
	"ip link set hop up; ip link set thinner up; ip link set thin up;" WAIT_UP("hop") WAIT_UP("thin")
	"ip neighbour add 10.0.0.1 lladdr " NEAR_MAC " dev hop; ip neighbour add fd00::1 lladdr " NEAR_MAC " dev hop";

static const char *const link_setup =
	"exec 2>/dev/null; ip link add near address " NEAR_MAC " type veth peer name hop address " HOP_MAC " netns %d";

static const char *const near_setup =
	"set -e; exec 2>/dev/null; ip address add 10.0.0.1/24 dev near; ip address add fd00::1/64 dev near nodad;"
	"ip link set near up;" WAIT_UP("near")
	"ip neighbour add 10.0.0.2 lladdr " HOP_MAC " dev near; ip neighbour add fd00::2 lladdr " HOP_MAC " dev near;"
	"ip route add 10.9.0.0/24 via 10.0.0.2; ip route add fd09::/64 via fd00::2";

static void be_router(int from_peer, int to_peer)
{
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNET) || write(to_peer, "", 1) != 1 || read(from_peer, &byte, 1) != 1 || system(router_setup))
		_exit(1);
	if (write(to_peer, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/*
 * Starts the router; the calling process must have its own network namespace. Returns the router's
 * pid, or 0 without iproute2 or veth.
 */
static inline pid_t start_router(void)
{
	int to_peer[2], from_peer[2];
	char command[256], byte;
	pid_t router;

	if (pipe(to_peer) || pipe(from_peer))
		return 0;
	router = fork();
	if (router == 0) {
		close(to_peer[1]);
		be_router(to_peer[0], from_peer[1]);
	}
	close(from_peer[1]);
	snprintf(command, sizeof(command), link_setup, router);
	/* Each end waits for the other to come up. */
	if (read(from_peer[0], &byte, 1) == 1 && system(command) == 0 && write(to_peer[1], "", 1) == 1 &&
	    system(near_setup) == 0 && read(from_peer[0], &byte, 1) == 1)
		return router;
	kill(router, SIGKILL);
	waitpid(router, NULL, 0);
	return 0;
}

static inline void stop_router(pid_t router)
{
	kill(router, SIGKILL);
	waitpid(router, NULL, 0);
}

/*
 * Sends this process an ICMP "fragmentation needed" over lo that quotes a datagram from
 * 127.0.0.1:port to quoted:quoted_port. Anyone who knows or guesses the source port can send such a
 * message.
 */
static inline int forge_too_big(uint16_t port, const char *quoted, uint16_t quoted_port, uint16_t mtu)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	uint8_t message[8 + 20 + 8] = { 3, 4 }, *ip = message + 8, *udp = ip + 20;
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	long sent;

	put16(message + 6, mtu);
	ip[0] = 0x45;
	put16(ip + 2, 1400);
	ip[6] = 0x40; /* DF */
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, "\x7f\0\0\x01", 4);
	inet_pton(AF_INET, quoted, ip + 16);
	put16(ip + 10, (uint16_t)~sum16(ip, 20, 0));
	put16(udp, port);
	put16(udp + 2, quoted_port);
	put16(udp + 4, 1380);
	put16(message + 2, (uint16_t)~sum16(message, sizeof(message), 0));
	sent = sendto(fd, message, sizeof(message), 0, (struct sockaddr *)&to, sizeof(to));
	close(fd);
	return sent == sizeof(message) ? 0 : -1;
}

#endif
