/* SPDX-License-Identifier: MIT
 *
 * Helpers of the network tests.
 *
 * They provide a separate network namespace, interface set-up by ioctl, a socket pair in place of a
 * TAP, packed rows, and the checksum of a pseudo-header.
 */
#ifndef VTEPD_TEST_NET_H
#define VTEPD_TEST_NET_H

#include "../shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static inline int ioctl_interface(unsigned long request, struct ifreq *interface)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = ioctl(fd, request, interface) ? -errno : 0;

	close(fd);
	return err;
}

static inline int link_up(const char *name)
{
	struct ifreq interface = { 0 };

	strncpy(interface.ifr_name, name, IFNAMSIZ - 1);
	interface.ifr_flags = IFF_UP;
	return ioctl_interface(SIOCSIFFLAGS, &interface);
}

static inline int link_mtu(const char *name, int mtu)
{
	struct ifreq interface = { 0 };

	strncpy(interface.ifr_name, name, IFNAMSIZ - 1);
	interface.ifr_mtu = mtu;
	return ioctl_interface(SIOCSIFMTU, &interface);
}

/*
 * Shell fragment that waits until a veth link is up, because addresses and routes work only some
 * time after both ends were set up. Fails after 5 s.
 */
#define WAIT_UP(link) "n=0; until ip link show " link " | grep -q 'state UP'; do n=$((n+1)); [ $n -le 500 ]; sleep 0.01; done;"

/* Sets an IPv4 address; the prefix length follows from its class: 10.x.y.z is a /8. */
static inline int link_address(const char *name, const char *ipv4)
{
	struct ifreq interface = { 0 };
	struct sockaddr_in address = { .sin_family = AF_INET };

	strncpy(interface.ifr_name, name, IFNAMSIZ - 1);
	inet_pton(AF_INET, ipv4, &address.sin_addr);
	memcpy(&interface.ifr_addr, &address, sizeof(address));
	return ioctl_interface(SIOCSIFADDR, &interface);
}

/* Moves the process into a new network namespace with lo up. Returns 0 without permission. */
static inline int own_network(void)
{
	return unshare(CLONE_NEWNET) == 0 && link_up("lo") == 0;
}

static inline struct peer_row row_of(const char *text, uint16_t port)
{
	struct peer_row row = { .port = port };

	row.family = strchr(text, ':') ? AF_INET6 : AF_INET;
	inet_pton(row.family, text, row.addr);
	return row;
}

/* Returns the port chosen by the kernel. */
static inline uint16_t port_of(int fd)
{
	struct sockaddr_in6 address;
	socklen_t len = sizeof(address);

	getsockname(fd, (struct sockaddr *)&address, &len);
	return ntohs(address.sin6_port); /* at the same offset in sockaddr_in */
}

static inline int readable_within(int fd, int ms)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN };

	return poll(&wanted, 1, ms) == 1 && wanted.revents & POLLIN;
}

/*
 * Socket pair in place of a TAP. What the shim writes to pair[0] is received from pair[1], and what
 * is sent to pair[1] is read from pair[0], message by message. The send buffer of pair[0] is as
 * large as permitted.
 */
static inline int tap_pair(int pair[2])
{
	int room = 32 << 20;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair))
		return -errno;
	if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return 0;
}

/* Sum of 16-bit words in network order, folded, not complemented (RFC 1071). */
static inline uint16_t sum16(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	if (len & 1)
		sum += (uint32_t)bytes[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline void put16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

#define UDP_FRAME_HEADERS (14 + 20 + 8)

/*
 * Writes Ethernet, IPv4 and UDP headers in front of a payload at frame + UDP_FRAME_HEADERS. The UDP
 * checksum field holds the pseudo-header sum and is left to the kernel. Returns the frame's length.
 */
static inline int32_t build_udp_frame(uint8_t *frame, const uint8_t mac[6], const char *from, const char *to,
				      uint16_t port, int32_t payload_len)
{
	uint8_t *ip = frame + 14, *udp = ip + 20;
	uint16_t udp_len = (uint16_t)(8 + payload_len);

	memset(frame, 0, UDP_FRAME_HEADERS);
	memcpy(frame, mac, 6);
	memcpy(frame + 6, "\x02\0\0\0\0\x01", 6);
	put16(frame + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)(20 + udp_len));
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	inet_pton(AF_INET, from, ip + 12);
	inet_pton(AF_INET, to, ip + 16);
	put16(ip + 10, (uint16_t)~sum16(ip, 20, 0));
	put16(udp, 40000);
	put16(udp + 2, port);
	put16(udp + 4, udp_len);
	put16(udp + 6, sum16(ip + 12, 8, (uint32_t)IPPROTO_UDP + udp_len));
	return UDP_FRAME_HEADERS + payload_len;
}

#endif
