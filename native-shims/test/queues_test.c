/* SPDX-License-Identifier: MIT
 *
 * Queue steering on a TAP with two queues, in a separate network namespace.
 *
 * Each flow stays on its queue. Neither other fields of its frames nor frames written to the other
 * queue move it. Both queues are used. Without steering, a frame written to the other queue moves
 * the flow there; tap_steer() prevents this.
 *
 *   AF_PACKET socket ── vtq0 (TAP, 2 queues) ── this program
 */
#include "check.h"
#include "net.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>

#define QUEUES 2
#define FLOWS 64
#define FRAMES_A_FLOW 4
#define FRAME_LEN 120
#define READ_LEN (sizeof(struct virtio_header) + FRAME_LEN + 64)

struct virtio_header {
	uint8_t bytes[10];
};

enum kind {
	IPV4_UDP,
	IPV4_TCP_OPTIONS,
	IPV4_TAGGED,
	IPV4_TWO_TAGS,
	IPV4_ICMP,
	IPV4_FRAGMENTS,
	IPV6_TCP,
	IPV6_EXTENSION,
	ARP,
	KINDS
};

static const char *const names[KINDS] = { "IPv4 UDP", "IPv4 TCP with options", "tagged", "two tags", "ICMP",
					  "fragments", "IPv6 TCP", "IPv6 with an extension", "ARP" };

static int queues[QUEUES], packet_fd;
static uint8_t tap_mac[6];

static uint8_t *put_tags(uint8_t *at, int tags, int number)
{
	for (int k = 0; k < tags; k++, at += 4) {
		put16(at, k + 1 < tags ? 0x88a8 : 0x8100);
		put16(at + 2, (uint16_t)(number & 0xfff)); /* priority and id vary per frame */
	}
	return at;
}

static void put_ipv4(uint8_t *ip, enum kind kind, int flow, int number)
{
	int options = kind == IPV4_TCP_OPTIONS ? 8 : 0;
	int has_ports = kind != IPV4_ICMP && kind != IPV4_FRAGMENTS;

	memset(ip + 12, 0, 8);
	ip[0] = (uint8_t)(0x45 + options / 4);
	put16(ip + 2, FRAME_LEN - 40);
	put16(ip + 4, (uint16_t)number);
	put16(ip + 6, kind == IPV4_FRAGMENTS ? (number & 1 ? 0x2000 : 0x0004) : 0x4000);
	ip[8] = 64;
	ip[9] = kind == IPV4_ICMP ? IPPROTO_ICMP : kind == IPV4_TCP_OPTIONS ? IPPROTO_TCP : IPPROTO_UDP;
	ip[12] = ip[16] = 10;
	ip[15] = 1;
	ip[19] = has_ports ? 2 : (uint8_t)(2 + flow);
	if (!has_ports)
		return;
	put16(ip + 20 + options, (uint16_t)(40000 + flow));
	put16(ip + 22 + options, 5001);
}

static void put_ipv6(uint8_t *ip, enum kind kind, int flow)
{
	memset(ip + 8, 0, 32);
	ip[0] = 0x60;
	put16(ip + 4, 40);
	ip[6] = kind == IPV6_TCP ? IPPROTO_TCP : IPPROTO_HOPOPTS;
	ip[7] = 64;
	ip[8] = ip[24] = 0xfd;
	ip[23] = 1;
	ip[39] = kind == IPV6_TCP ? 2 : (uint8_t)(2 + flow);
	if (kind != IPV6_TCP)
		return;
	put16(ip + 40, (uint16_t)(40000 + flow));
	put16(ip + 42, 443);
}

/*
 * Fields that do not identify the flow differ from frame to frame. The last byte is the flow
 * number.
 */
static void build(uint8_t *frame, enum kind kind, int flow, int number)
{
	uint8_t *type = frame + 12;

	for (int i = 0; i < FRAME_LEN; i++)
		frame[i] = (uint8_t)(number * 7 + i);
	memcpy(frame, tap_mac, 6);
	memcpy(frame + 6, "\x02\0\0\0\0\x01", 6);
	if (kind == ARP)
		frame[11] = (uint8_t)flow;
	type = put_tags(type, kind == IPV4_TAGGED ? 1 : kind == IPV4_TWO_TAGS ? 2 : 0, number);
	put16(type, kind == ARP ? 0x0806 : kind >= IPV6_TCP ? 0x86dd : 0x0800);
	if (kind < IPV6_TCP)
		put_ipv4(type + 2, kind, flow, number);
	else if (kind < ARP)
		put_ipv6(type + 2, kind, flow);
	frame[FRAME_LEN - 2] = 0xa5;
	frame[FRAME_LEN - 1] = (uint8_t)flow;
}

/* Returns the queue on which a frame arrives, or -1. Frames of the kernel's own are ignored. */
static int queue_of_len(const uint8_t *frame, ssize_t frame_len)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("vtq0"), .sll_halen = 6 };
	struct pollfd wanted[QUEUES];
	uint8_t got[READ_LEN];

	if (sendto(packet_fd, frame, (size_t)frame_len, 0, (struct sockaddr *)&to, sizeof(to)) != frame_len)
		return -1;
	for (int q = 0; q < QUEUES; q++)
		wanted[q] = (struct pollfd){ .fd = queues[q], .events = POLLIN };
	while (poll(wanted, QUEUES, 1000) > 0) {
		for (int q = 0; q < QUEUES; q++) {
			ssize_t len = read(queues[q], got, sizeof(got));

			if (len == (ssize_t)sizeof(struct virtio_header) + frame_len &&
			    !memcmp(got + sizeof(struct virtio_header), frame, (size_t)frame_len))
				return q;
		}
	}
	return -1;
}

static int queue_of(const uint8_t *frame)
{
	return queue_of_len(frame, FRAME_LEN);
}

/* Writes an answer to the frame to one queue, as a worker does with a frame from the underlay. */
static void answer_through(int queue, const uint8_t *frame)
{
	uint8_t answer[sizeof(struct virtio_header) + FRAME_LEN] = { 0 };
	uint8_t *ethernet = answer + sizeof(struct virtio_header), *ip = ethernet + 14;

	memcpy(ethernet, frame, FRAME_LEN);
	memcpy(ethernet, frame + 6, 6);
	memcpy(ethernet + 6, frame, 6);
	memcpy(ip + 12, frame + 14 + 16, 4);
	memcpy(ip + 16, frame + 14 + 12, 4);
	memcpy(ip + 20, frame + 14 + 22, 2);
	memcpy(ip + 22, frame + 14 + 20, 2);
	CHECK_EQ(write(queues[queue], answer, sizeof(answer)), (long long)sizeof(answer));
}

static void test_flows_stay(enum kind kind)
{
	int used[QUEUES] = { 0 }, strays = 0;

	for (int flow = 0; flow < FLOWS; flow++) {
		uint8_t frame[FRAME_LEN];
		int home;

		build(frame, kind, flow, flow);
		home = queue_of(frame);
		if (!CHECK(home >= 0))
			return;
		used[home]++;
		for (int n = 1; n < FRAMES_A_FLOW; n++) {
			if (kind == IPV4_UDP)
				answer_through(1 - home, frame);
			build(frame, kind, flow, flow + 100 * n + 1);
			strays += queue_of(frame) != home;
		}
	}
	if (!CHECK_EQ(strays, 0) | !CHECK(used[0] >= FLOWS / 4 && used[1] >= FLOWS / 4))
		printf("# %s: %d and %d flows, %d frames on another queue\n", names[kind], used[0], used[1], strays);
}

/* With truncated headers the program ends early, and the frame arrives on the first queue. */
static void test_short_frames(void)
{
	uint8_t frame[FRAME_LEN];

	for (enum kind kind = 0; kind < ARP; kind++) {
		build(frame, kind, 1, 1);
		for (ssize_t len = 15; len < 28; len++)
			CHECK_EQ(queue_of_len(frame, len), 0);
	}
}

static void test_kernel_moves_flows(void)
{
	int moved = 0;

	CHECK_EQ(tap_unsteer(queues[0]), 0);
	for (int flow = 0; flow < FLOWS; flow++) {
		uint8_t frame[FRAME_LEN];
		int before;

		build(frame, IPV4_UDP, flow, flow);
		before = queue_of(frame);
		answer_through(1 - before, frame);
		moved += queue_of(frame) == 1 - before;
	}
	CHECK(moved > FLOWS / 2);
}

static void test_open(void)
{
	CHECK(tap_open("vtq0", 0) < 0); /* a multi-queue device */
	CHECK_EQ(tap_open("vtq1", 0) >= 0, 1);
	CHECK(tap_open("vtq1", 1) < 0); /* a single-queue device */
	CHECK(tap_steer(packet_fd) < 0);
}

int main(void)
{
	struct ifreq interface = { .ifr_name = "vtq0" };

	if (access("/dev/net/tun", R_OK | W_OK) || !own_network())
		SKIP("needs root and /dev/net/tun");
	for (int q = 0; q < QUEUES; q++) {
		queues[q] = tap_open("vtq0", 1);
		REQUIRE(queues[q] >= 0);
	}
	packet_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	REQUIRE(packet_fd >= 0);
	test_open();
	REQUIRE(ioctl_interface(SIOCGIFHWADDR, &interface) == 0);
	memcpy(tap_mac, interface.ifr_hwaddr.sa_data, 6);
	REQUIRE(link_up("vtq0") == 0);
	if (!CHECK_EQ(tap_steer(queues[0]), 0))
		return check_report();
	for (enum kind kind = 0; kind < KINDS; kind++)
		test_flows_stay(kind);
	test_short_frames();
	test_kernel_moves_flows();
	close(queues[0]);
	close(queues[1]);
	CHECK(if_nametoindex("vtq0") == 0);
	close(packet_fd);
	return check_report();
}
