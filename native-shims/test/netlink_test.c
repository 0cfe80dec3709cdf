/* SPDX-License-Identifier: MIT
 *
 * Netlink sockets: notifications of groups, requests with acknowledgements, errors and long lists.
 */
#include "check.h"
#include "net.h"
#include "../netlink.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#define VETHS 400

/* Longest datagram of notifications. */
static uint8_t buffer[64 * 1024];

struct link_request {
	struct nlmsghdr head;
	struct ifinfomsg info;
	struct rtattr attr;
	char text[60];
};

static struct link_request link_request(uint16_t type, uint16_t flags, int index)
{
	return (struct link_request){
		.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = type,
			  .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = 7 },
		.info = { .ifi_index = index },
	};
}

static void append(struct link_request *request, uint16_t type, const void *value, uint16_t len)
{
	request->attr = (struct rtattr){ .rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = type };
	memcpy(request->text, value, len);
	request->head.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)) + RTA_LENGTH(len);
}

static int ask(const struct link_request *request, struct netlink_answer *answer)
{
	return netlink_request(NETLINK_ROUTE, (const uint8_t *)request, request->head.nlmsg_len, answer);
}

/* Returns the error of the message, which must be the first; 1 for another message. */
static int error_of(const struct netlink_answer *answer)
{
	const struct nlmsghdr *head = (const void *)answer->data;

	if (answer->len < NLMSG_LENGTH(sizeof(int)) || head->nlmsg_type != NLMSG_ERROR)
		return 1;
	return *(const int *)NLMSG_DATA(head);
}

static void test_malformed(void)
{
	struct link_request request = link_request(RTM_GETLINK, NLM_F_ACK, 1);
	struct netlink_answer answer;
	uint8_t *bytes = (uint8_t *)&request;

	CHECK_EQ(netlink_request(NETLINK_ROUTE, bytes, 0, &answer), -EINVAL);
	/* Copies of exact size, so that a sanitizer reports a read beyond the end. */
	for (size_t len = 1; len < request.head.nlmsg_len; len++) {
		uint8_t *copy = malloc(len);

		memcpy(copy, bytes, len);
		CHECK_EQ(netlink_request(NETLINK_ROUTE, copy, len, &answer), -EINVAL);
		free(copy);
	}
	for (uint32_t len = 0; len < sizeof(struct nlmsghdr); len++) {
		request.head.nlmsg_len = len;
		CHECK_EQ(netlink_request(NETLINK_ROUTE, bytes, 32, &answer), -EINVAL);
	}
	request.head.nlmsg_len = 33;
	CHECK_EQ(netlink_request(NETLINK_ROUTE, bytes, 32, &answer), -EINVAL);
	request.head.nlmsg_len = UINT32_MAX;
	CHECK_EQ(netlink_request(NETLINK_ROUTE, bytes, 32, &answer), -EINVAL);
	request.head.nlmsg_len = 30; /* a second message of no bytes follows the padding */
	CHECK_EQ(netlink_request(NETLINK_ROUTE, bytes, 36, &answer), -EINVAL);
	CHECK(answer.data == NULL && answer.len == 0);
}

static void test_acknowledgement(void)
{
	struct link_request request = link_request(RTM_GETLINK, NLM_F_ACK, 1);
	struct netlink_answer answer;
	const struct nlmsghdr *head;

	REQUIRE(ask(&request, &answer) == 0);
	head = (const void *)answer.data;
	CHECK_EQ(head->nlmsg_type, RTM_NEWLINK);
	CHECK_EQ(head->nlmsg_seq, 7);
	CHECK(head->nlmsg_len < answer.len); /* an acknowledgement follows */
	free(answer.data);

	request = link_request(RTM_SETLINK, NLM_F_ACK, 1);
	append(&request, IFLA_IFALIAS, "loop", 4);
	REQUIRE(ask(&request, &answer) == 0);
	CHECK_EQ(error_of(&answer), 0);
	free(answer.data);
}

static void test_error(void)
{
	struct link_request two[2] = { link_request(RTM_SETLINK, NLM_F_ACK, 9999), link_request(RTM_SETLINK, NLM_F_ACK, 1) };
	struct link_request request = link_request(RTM_SETLINK, NLM_F_ACK, 1);
	struct netlink_answer answer;
	uint32_t mtu = 10;
	uint8_t both[64];

	/* The second request is executed, although the first fails. */
	memcpy(both, &two[0], 32);
	memcpy(both + 32, &two[1], 32);
	REQUIRE(netlink_request(NETLINK_ROUTE, both, sizeof(both), &answer) == 0);
	CHECK_EQ(error_of(&answer), -ENODEV);
	CHECK_EQ(answer.len, 2 * NLMSG_ALIGN(NLMSG_LENGTH(sizeof(struct nlmsgerr))));
	free(answer.data);

	/* The kernel's words: an MTU below the minimum of a veth. */
	request = link_request(RTM_SETLINK, NLM_F_ACK, (int)if_nametoindex("a0"));
	append(&request, IFLA_MTU, &mtu, sizeof(mtu));
	REQUIRE(ask(&request, &answer) == 0);
	CHECK_EQ(error_of(&answer), -EINVAL);
	CHECK(memmem(answer.data, answer.len, "mtu less than device minimum", 28) != NULL);
	free(answer.data);
}

/* Every device of a list that takes many datagrams is there once. */
static void test_dump(void)
{
	struct link_request request = link_request(RTM_GETLINK, NLM_F_DUMP, 0);
	struct netlink_answer answer;
	size_t devices = 0, ends = 0;

	REQUIRE(ask(&request, &answer) == 0);
	CHECK(answer.len > sizeof(buffer));
	for (size_t at = 0; at < answer.len;) {
		const struct nlmsghdr *head = (const void *)(answer.data + at);

		REQUIRE(head->nlmsg_len >= sizeof(*head) && head->nlmsg_len <= answer.len - at);
		devices += head->nlmsg_type == RTM_NEWLINK;
		ends += head->nlmsg_type == NLMSG_DONE;
		at += NLMSG_ALIGN(head->nlmsg_len);
	}
	CHECK_EQ(devices, 1 + 2 * VETHS);
	CHECK_EQ(ends, 1);
	free(answer.data);
}

static void test_groups(void)
{
	int32_t groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR }, bad = 4095, none = 0;
	int fd = netlink_open(NETLINK_ROUTE, groups, 2);
	struct link_request request = link_request(RTM_SETLINK, NLM_F_ACK, (int)if_nametoindex("a0"));
	struct netlink_answer answer;
	const struct nlmsghdr *head = (const void *)buffer;
	uint32_t mtu = 1400;
	int deaf;

	REQUIRE(fd >= 0);
	CHECK_EQ(netlink_receive(fd, buffer, sizeof(buffer)), -EAGAIN);
	append(&request, IFLA_MTU, &mtu, sizeof(mtu));
	REQUIRE(ask(&request, &answer) == 0);
	CHECK_EQ(error_of(&answer), 0);
	free(answer.data);
	/* The notification is queued before the acknowledgement. */
	CHECK(netlink_receive(fd, buffer, sizeof(buffer)) > 0);
	CHECK_EQ(head->nlmsg_type, RTM_NEWLINK);
	while (netlink_receive(fd, buffer, sizeof(buffer)) >= 0)
		;
	CHECK_EQ(link_address("a0", "10.0.0.1"), 0);
	CHECK(netlink_receive(fd, buffer, sizeof(buffer)) > 0);
	CHECK_EQ(head->nlmsg_type, RTM_NEWADDR);

	/* A datagram longer than the buffer. */
	CHECK_EQ(link_address("a0", "10.0.0.2"), 0);
	CHECK_EQ(netlink_receive(fd, buffer, 20), -EMSGSIZE);
	while (netlink_receive(fd, buffer, sizeof(buffer)) >= 0)
		;

	/* Notifications that the socket has no space for. */
	deaf = 1;
	REQUIRE(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &deaf, sizeof(deaf)) == 0);
	for (int i = 0; i < 50; i++)
		link_mtu("a0", 1300 + i);
	CHECK_EQ(netlink_receive(fd, buffer, sizeof(buffer)), -ENOBUFS);
	close(fd);

	CHECK_EQ(netlink_open(NETLINK_ROUTE, &bad, 1), -EINVAL);
	CHECK_EQ(netlink_open(NETLINK_ROUTE, &none, 1), -EINVAL);
	CHECK_EQ(netlink_open(31, groups, 1), -EPROTONOSUPPORT);
	CHECK_EQ(netlink_request(31, (const uint8_t *)&request, request.head.nlmsg_len, &answer), -EPROTONOSUPPORT);
	CHECK_EQ(netlink_receive(-1, buffer, sizeof(buffer)), -EBADF);
	fd = netlink_open(NETLINK_ROUTE, NULL, 0);
	CHECK(fd >= 0);
	close(fd);
}

int main(void)
{
	char command[128];

	if (!own_network())
		SKIP("a network namespace requires root");
	snprintf(command, sizeof(command),
		 "for i in $(seq 0 %d); do echo link add a$i type veth peer name b$i; done | ip -batch -", VETHS - 1);
	REQUIRE(system(command) == 0);
	test_malformed();
	test_acknowledgement();
	test_error();
	test_dump();
	test_groups();
	return check_report();
}
