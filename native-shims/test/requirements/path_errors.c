/* SPDX-License-Identifier: MIT
 *
 * Linux: error queue entries of an unconnected socket for oversized datagrams.
 *
 *     refused by             DF   destination address   port          ee_info
 *     own device, IPv4       set  as sent               0             the device MTU
 *     own device, IPv6       set  as sent               as sent       the device MTU
 *     a router, by ICMP      set  as quoted             as quoted     the MTU in the message
 *     a router, ICMP, IPv4   clear: no entry, the next datagram is fragmented to fit
 *
 * A train that is too large leaves no message in the queue. Of the messages, only one from ICMP
 * fails the next send. The kernel matches the quoted packet by source address and port only: the
 * quoted destination can be any host, so it must be checked. With PMTUDISC_PROBE the kernel sends
 * datagrams as large as the device MTU, even after an ICMP message has reported a smaller path MTU.
 */
#include "check.h"
#include "router.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define PORT 4789

struct report {
	int origin, port;
	long mtu;
	char address[INET6_ADDRSTRLEN];
};

static int open_socket(const char *address, int options)
{
	struct peer_row local = row_of(address, 0);
	int fd = udp_open(&local, "", UDP_OPEN_RECVERR | options, 0, 0, 0);

	REQUIRE(fd >= 0);
	return fd;
}

static int send_to(int fd, const char *address, size_t len, uint16_t segment)
{
	static uint8_t bytes[4000];
	struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(segment))] = { 0 };
	struct iovec iov = { bytes, len };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &ipv4, .msg_namelen = sizeof(ipv4) };

	if (strchr(address, ':')) {
		inet_pton(AF_INET6, address, &ipv6.sin6_addr);
		header.msg_name = &ipv6;
		header.msg_namelen = sizeof(ipv6);
	}
	inet_pton(AF_INET, address, &ipv4.sin_addr);
	if (segment) {
		struct cmsghdr *message = (struct cmsghdr *)control;

		*message = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(segment)), .cmsg_level = IPPROTO_UDP,
					     .cmsg_type = UDP_SEGMENT };
		memcpy(CMSG_DATA(message), &segment, sizeof(segment));
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
	}
	return sendmsg(fd, &header, 0) < 0 ? -errno : 0;
}

/* Waits for the next message of the queue. Returns 0 if there is none. */
static int read_error(int fd, struct report *report, int wait_ms)
{
	struct pollfd wanted = { .fd = fd };
	struct sockaddr_in6 name;
	_Alignas(struct cmsghdr) char control[256];
	struct msghdr header = { .msg_name = &name, .msg_namelen = sizeof(name), .msg_control = control,
				 .msg_controllen = sizeof(control) };
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)&name;
	struct sock_extended_err err;
	struct cmsghdr *message;

	poll(&wanted, 1, wait_ms);
	if (recvmsg(fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return 0;
	message = CMSG_FIRSTHDR(&header);
	REQUIRE(message && message->cmsg_type == (name.sin6_family == AF_INET6 ? IPV6_RECVERR : IP_RECVERR));
	memcpy(&err, CMSG_DATA(message), sizeof(err));
	CHECK_EQ(err.ee_errno, EMSGSIZE);
	report->origin = err.ee_origin;
	report->mtu = err.ee_info;
	report->port = ntohs(name.sin6_port); /* at the same offset in sockaddr_in */
	inet_ntop(name.sin6_family, name.sin6_family == AF_INET6 ? (void *)&name.sin6_addr : (void *)&ipv4->sin_addr,
		  report->address, sizeof(report->address));
	return 1;
}

static void expect(int fd, int origin, const char *address, int port, long mtu)
{
	struct report report;

	if (!CHECK(read_error(fd, &report, 2000)))
		return;
	CHECK_EQ(report.origin, origin);
	CHECK(strcmp(report.address, address) == 0);
	CHECK_EQ(report.port, port);
	CHECK_EQ(report.mtu, mtu);
}

static void expect_nothing(int fd)
{
	struct report report;

	CHECK(!read_error(fd, &report, 100));
}

static void test_own_device(const char *from, const char *far)
{
	int ipv6 = strchr(far, ':') != NULL, fd = open_socket(from, UDP_OPEN_DF);

	CHECK_EQ(send_to(fd, far, 1600, 0), -EMSGSIZE);
	expect(fd, SO_EE_ORIGIN_LOCAL, far, ipv6 ? PORT : 0, 1500);
	CHECK_EQ(send_to(fd, far, 1600, 0), -EMSGSIZE);
	CHECK_EQ(send_to(fd, far, 100, 0), 0); /* although that message is queued */
	expect(fd, SO_EE_ORIGIN_LOCAL, far, ipv6 ? PORT : 0, 1500);
	CHECK_EQ(send_to(fd, far, 3200, 1600), -EMSGSIZE);
	expect_nothing(fd);
	close(fd);
	fd = open_socket(from, 0);
	CHECK_EQ(send_to(fd, far, 3200, 1600), -EMSGSIZE); /* a train is not fragmented */
	expect_nothing(fd);
	close(fd);
}

static void test_router(const char *from, const char *far)
{
	int origin = strchr(far, ':') ? SO_EE_ORIGIN_ICMP6 : SO_EE_ORIGIN_ICMP, fd = open_socket(from, UDP_OPEN_DF);

	CHECK_EQ(send_to(fd, far, 1400, 0), 0);
	expect(fd, origin, far, PORT, ROUTER_MTU);
	CHECK_EQ(send_to(fd, far, 2 * 1400, 1400), 0); /* over veth a train is answered once */
	expect(fd, origin, far, PORT, ROUTER_MTU);
	CHECK_EQ(send_to(fd, far, 1400, 0), 0);
	poll(&(struct pollfd){ .fd = fd }, 1, 2000);
	CHECK_EQ(send_to(fd, far, 100, 0), -EMSGSIZE); /* for the previous datagram */
	CHECK_EQ(send_to(fd, far, 100, 0), 0);
	expect(fd, origin, far, PORT, ROUTER_MTU);
	expect_nothing(fd);
	close(fd);
}

/* The path MTU is known by now, so the datagram is fragmented before it is sent. */
static void test_df_clear(const char *from, const char *far)
{
	int fd = open_socket(from, 0);

	CHECK_EQ(send_to(fd, far, 1400, 0), 0);
	CHECK_EQ(send_to(fd, far, 2800, 1400), -EMSGSIZE); /* exceeds the known path MTU */
	CHECK_EQ(send_to(fd, far, 2400, 1200), 0);
	expect_nothing(fd);
	close(fd);
}

static void test_forged(void)
{
	int fd = open_socket("127.0.0.1", UDP_OPEN_DF);

	REQUIRE(forge_too_big(port_of(fd), "192.0.2.9", 7, 600) == 0);
	expect(fd, SO_EE_ORIGIN_ICMP, "192.0.2.9", 7, 600);
	REQUIRE(forge_too_big(port_of(fd), "127.0.0.1", PORT, 0) == 0);
	expect(fd, SO_EE_ORIGIN_ICMP, "127.0.0.1", PORT, 0);
	REQUIRE(forge_too_big((uint16_t)(port_of(fd) + 1), "192.0.2.9", 7, 600) == 0);
	expect_nothing(fd);
	close(fd);
}

int main(void)
{
	pid_t router;

	if (!own_network())
		SKIP("needs root");
	test_forged();
	router = start_router();
	if (!router)
		SKIP("needs iproute2 and veth");
	test_own_device("10.0.0.1", FAR_IPV4);
	test_own_device("fd00::1", FAR_IPV6);
	test_router("10.0.0.1", FAR_IPV4);
	test_router("fd00::1", FAR_IPV6);
	test_df_clear("10.0.0.1", FAR_IPV4);
	test_df_clear("fd00::1", FAR_IPV6);
	stop_router(router);
	return check_report();
}
