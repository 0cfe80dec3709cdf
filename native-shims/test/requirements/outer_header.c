/* SPDX-License-Identifier: MIT
 *
 * Linux: each message of a sendmmsg may have its own TOS and TTL.
 *
 * Control messages set TOS and TTL (traffic class and hop limit) beside UDP_SEGMENT; a message
 * without them has the TOS and TTL of its socket. All bits of TOS may be set, including ECN. A
 * receiver gets TOS or traffic class once per datagram or train: over IPv4 in one byte, over IPv6
 * in an int.
 */
#include "check.h"
#include "net.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif

#define SOCKET_TTL 33
#define SEGMENT 100

/* Fields set on each message, which the receiver must see; 0: not set. */
static const struct outer {
	int tos, ttl, segments;
} messages[] = {
	{ 0, 0, 1 },   { 0xb9, 7, 1 }, { 0x03, 0, 3 },	{ 0, 0, 3 },
	{ 0xff, 9, 5 }, { 0x01, 0, 1 }, { 0, 255, 3 }, { 0, 0, 1 },
};
#define MESSAGES (sizeof(messages) / sizeof(messages[0]))

union control {
	struct cmsghdr align;
	char bytes[4 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static void put(struct msghdr *header, int level, int type, const void *value, size_t len)
{
	struct cmsghdr *control = (struct cmsghdr *)((char *)header->msg_control + header->msg_controllen);

	*control = (struct cmsghdr){ .cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type };
	memcpy(CMSG_DATA(control), value, len);
	header->msg_controllen += CMSG_SPACE(len);
}

static void put_outer(struct msghdr *header, const struct outer *outer, int ipv6)
{
	uint16_t segment = SEGMENT;
	int level = ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;

	if (outer->segments > 1)
		put(header, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
	if (outer->tos)
		put(header, level, ipv6 ? IPV6_TCLASS : IP_TOS, &outer->tos, sizeof(int));
	if (outer->ttl)
		put(header, level, ipv6 ? IPV6_HOPLIMIT : IP_TTL, &outer->ttl, sizeof(int));
}

static void send_all(int fd, const struct sockaddr_in6 *to, socklen_t to_len, int ipv6)
{
	static uint8_t bytes[16 * SEGMENT];
	static union control controls[MESSAGES];
	struct mmsghdr headers[MESSAGES] = { 0 };
	struct iovec iov[MESSAGES];

	for (size_t m = 0; m < MESSAGES; m++) {
		struct msghdr *header = &headers[m].msg_hdr;

		iov[m] = (struct iovec){ bytes, (size_t)messages[m].segments * SEGMENT };
		*header = (struct msghdr){ .msg_name = (void *)to, .msg_namelen = to_len, .msg_iov = &iov[m], .msg_iovlen = 1 };
		header->msg_control = &controls[m];
		put_outer(header, &messages[m], ipv6);
	}
	CHECK_EQ(sendmmsg(fd, headers, MESSAGES, 0), MESSAGES);
}

static void expect(int fd, const struct outer *wanted)
{
	static uint8_t bytes[65536];
	union control control;
	struct iovec iov = { bytes, sizeof(bytes) };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int tos = -1, ttl = -1, segment = SEGMENT;

	REQUIRE(readable_within(fd, 2000));
	CHECK_EQ(recvmsg(fd, &header, 0), wanted->segments * SEGMENT);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&segment, CMSG_DATA(c), sizeof(segment));
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS && c->cmsg_len == CMSG_LEN(1))
			tos = *CMSG_DATA(c);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS && c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(&tos, CMSG_DATA(c), sizeof(tos));
		else if (c->cmsg_type == IP_TTL || c->cmsg_type == IPV6_HOPLIMIT)
			memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
	}
	CHECK_EQ(tos, wanted->tos);
	CHECK_EQ(ttl, wanted->ttl ? wanted->ttl : SOCKET_TTL);
	CHECK_EQ(segment, SEGMENT);
}

static void test_family(const char *loopback)
{
	int ipv6 = strchr(loopback, ':') != NULL, level = ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, on = 1;
	struct peer_row local = row_of(loopback, 0);
	int receiver = udp_open(&local, "", UDP_OPEN_RECEIVE, 0, 0, 0);
	int sender = udp_open(&local, "", UDP_OPEN_DF, 0, 0, SOCKET_TTL);
	struct sockaddr_in6 to;
	socklen_t to_len = sizeof(to);

	REQUIRE(receiver >= 0 && sender >= 0);
	REQUIRE(setsockopt(receiver, level, ipv6 ? IPV6_RECVTCLASS : IP_RECVTOS, &on, sizeof(on)) == 0);
	REQUIRE(setsockopt(receiver, level, ipv6 ? IPV6_RECVHOPLIMIT : IP_RECVTTL, &on, sizeof(on)) == 0);
	REQUIRE(getsockname(receiver, (struct sockaddr *)&to, &to_len) == 0);
	send_all(sender, &to, to_len, ipv6);
	for (size_t m = 0; m < MESSAGES; m++)
		expect(receiver, &messages[m]);
	close(receiver);
	close(sender);
}

int main(void)
{
	test_family("127.0.0.1");
	test_family("::1");
	return check_report();
}
