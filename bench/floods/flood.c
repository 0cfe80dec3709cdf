// SPDX-License-Identifier: MIT
/*
 * flood - hostile traffic for the benchmark, sent as fast as possible (a "flood")
 *
 * Theory of operation
 *
 *     flood peer ADDRESS PORT VNI one|random SECONDS
 *         VXLAN datagrams from one inner MAC or from random ones
 *     flood trains ADDRESS PORT VNI SECONDS
 *         trains of such datagrams from one inner MAC
 *     flood strangers ADDRESS PORT VNI SECONDS
 *         datagrams from random inner MACs and forged outer sources
 *     flood frames DEVICE MAC ADDRESS PORT SECONDS
 *         64-byte UDP frames from a VM's device
 *     flood superframes DEVICE MAC ADDRESS PORT tcp|udp SEGMENT SECONDS
 *         65 KB superframes from a VM's device
 *     flood sink PORT
 *         a plain socket that reads and discards, until killed
 *
 * Every flood sends as fast as its system calls return. It ends after SECONDS seconds or FRAMES_MAX
 * frames, and prints one line of JSON. For the baseline of a flood, the same program sends to the
 * sink. The baseline of `peer`, `trains` and `strangers` has the PORT of the sink. The baseline of
 * `frames` and `superframes` has another MAC and ADDRESS, because a broadcast frame would go
 * through the VTEP.
 *
 * Random inner MACs begin with 06. The MACs of the FDB entries that the benchmark adds before a
 * flood do not.
 * Forged sources are in 10.64.0.0/10. The frames of `peer`, `trains` and `strangers` are addressed
 * to a unicast MAC that no station has.
 *
 * A train is TRAIN datagrams in one message (UDP_SEGMENT). A receiver with UDP_GRO on this machine
 * reads it as one.
 *
 * Superframes are sent through AF_PACKET with a virtio_net_hdr, as a VM's network card hands them
 * to the host; the host completes the checksum. A TCP superframe with a SEGMENT of 1 has 65,000
 * segments. With `udp` the sink, which enables UDP_GRO, reads a superframe whole.
 *
 * Compiled by the benchmark when it runs: cc -O2 -o flood flood.c
 */
#define _GNU_SOURCE
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#define TOOL "flood"
#include "../lab/tool.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5	/* since Linux 6.2 */
#endif

#define BATCH 64		/* messages per system call */
#define FRAMES_MAX 20000000	/* ends a flood early */
#define TRAIN 64		/* datagrams of a train */
#define SEND_BUFFER (8 << 20)
#define RECEIVE_BUFFER (8 << 20)

#define ETHERNET_LEN 14
#define IPV4_LEN 20
#define UDP_LEN 8
#define TCP_LEN 20
#define VXLAN_LEN 8
#define FRAME_LEN 64
#define DATAGRAM_LEN (VXLAN_LEN + FRAME_LEN)
#define SUPERFRAME_LEN 65000
#define BUFFER_LEN (SUPERFRAME_LEN + ETHERNET_LEN + 64)
#define ETHERTYPE_LOCAL 0x88b5	/* IEEE 802, for local experiments */

static const uint8_t no_station[] = { 0x02, 0, 0, 0, 0, 0x99 };
static const uint8_t sender[] = { 0x02, 0xee, 0, 0, 0, 0x01 };

/* xorshift64: the same sequence in every run. */
static uint64_t random_state = UINT64_C(88172645463325252);

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/** sum16() - One's complement sum of an even number of bytes, not folded */
static uint32_t sum16(const uint8_t *bytes, int len)
{
	uint32_t sum = 0;

	for (int i = 0; i < len; i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/** put_ipv4() - Write an IPv4 header with DF; addresses in network order */
static void put_ipv4(uint8_t *ip, unsigned total, uint8_t protocol, uint32_t from, uint32_t to)
{
	memset(ip, 0, IPV4_LEN);
	ip[0] = 0x45;
	put16(ip + 2, total);
	put16(ip + 6, IP_DF);
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, &from, sizeof(from));
	memcpy(ip + 16, &to, sizeof(to));
	put16(ip + 10, (uint16_t)~fold(sum16(ip, IPV4_LEN)));
}

/* A batch of messages, each with its own buffer. */
static uint8_t buffers[BATCH][BUFFER_LEN];
static struct iovec iov[BATCH];
static struct mmsghdr messages[BATCH];

static void prepare(size_t len)
{
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ buffers[i], len };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
}

/**
 * flood() - Send batch after batch
 * @s:		Socket; connected or bound to a device if the messages have no destination
 * @batch:	Messages per system call
 * @renew:	Changes message i before it is sent again, or NULL
 * @seconds:	Time limit
 */
static void flood(int s, unsigned batch, void (*renew)(int i), long seconds)
{
	uint64_t sent = 0, refused = 0, begin = now_ns(), end = begin + (uint64_t)seconds * 1000000000u;

	while (now_ns() < end && sent + refused < FRAMES_MAX) {
		int n;

		for (unsigned i = 0; renew && i < batch; i++)
			renew((int)i);
		n = sendmmsg(s, messages, batch, 0);
		if (n > 0)
			sent += (uint64_t)n;
		else if (errno == ENOBUFS || errno == EAGAIN || errno == ECONNREFUSED)
			refused++;
		else if (errno != EINTR)
			die("sendmmsg");
	}
	printf("{\"sent\":%llu,\"seconds\":%.6f}\n", (unsigned long long)sent, (double)(now_ns() - begin) / 1e9);
}

static int open_socket(int family, int type, int protocol)
{
	int size = SEND_BUFFER;
	int s = socket(family, type | SOCK_CLOEXEC, protocol);

	if (s < 0)
		die("socket");
	if (setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		die("SO_SNDBUFFORCE");
	return s;
}

/** put_vxlan() - Write a VXLAN header and a 64-byte frame to a MAC that no station has */
static void put_vxlan(uint8_t *datagram, uint32_t vni)
{
	uint8_t *frame = datagram + VXLAN_LEN;

	memset(datagram, 0, DATAGRAM_LEN);
	datagram[0] = 0x08;
	put16(datagram + 4, vni >> 8);
	datagram[6] = (uint8_t)vni;
	memcpy(frame, no_station, ETH_ALEN);
	memcpy(frame + ETH_ALEN, sender, ETH_ALEN);
	put16(frame + 12, ETHERTYPE_LOCAL);
}

static void randomize_mac(uint8_t *mac)
{
	uint64_t bits = next_random();

	memcpy(mac, &bits, ETH_ALEN);
	mac[0] = 0x06;
}

static void renew_peer(int i)
{
	randomize_mac(buffers[i] + VXLAN_LEN + ETH_ALEN);
}

static int open_connected(struct sockaddr_in to)
{
	int s = open_socket(AF_INET, SOCK_DGRAM, 0);

	if (connect(s, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	return s;
}

static void run_peer(char **argv)
{
	struct sockaddr_in to = parse_address(argv[0], argv[1]);
	uint32_t vni = (uint32_t)number(argv[2], 0, 0xffffff);
	int s = open_connected(to);

	if (strcmp(argv[3], "one") && strcmp(argv[3], "random"))
		usage(argv[3]);
	prepare(DATAGRAM_LEN);
	for (int i = 0; i < BATCH; i++)
		put_vxlan(buffers[i], vni);
	flood(s, BATCH, argv[3][0] == 'r' ? renew_peer : NULL, number(argv[4], 1, 3600));
}

static void run_trains(char **argv)
{
	int s = open_connected(parse_address(argv[0], argv[1])), segment = DATAGRAM_LEN;
	uint32_t vni = (uint32_t)number(argv[2], 0, 0xffffff);

	if (setsockopt(s, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)))
		die("UDP_SEGMENT");
	prepare(TRAIN * DATAGRAM_LEN);
	for (int i = 0; i < BATCH; i++)
		for (int at = 0; at < TRAIN; at++)
			put_vxlan(buffers[i] + at * DATAGRAM_LEN, vni);
	flood(s, BATCH, NULL, number(argv[3], 1, 3600));
}

#define OUTER_LEN (IPV4_LEN + UDP_LEN)

static struct sockaddr_in victim;

static void renew_stranger(int i)
{
	uint32_t from = htonl(0x0a400000 | (uint32_t)(next_random() & 0x3fffff));

	put_ipv4(buffers[i], OUTER_LEN + VXLAN_LEN + FRAME_LEN, IPPROTO_UDP, from, victim.sin_addr.s_addr);
	randomize_mac(buffers[i] + OUTER_LEN + VXLAN_LEN + ETH_ALEN);
}

static void run_strangers(char **argv)
{
	uint32_t vni = (uint32_t)number(argv[2], 0, 0xffffff);
	int s = open_socket(AF_INET, SOCK_RAW, IPPROTO_RAW);

	victim = parse_address(argv[0], argv[1]);
	prepare(OUTER_LEN + DATAGRAM_LEN);
	for (int i = 0; i < BATCH; i++) {
		uint8_t *udp = buffers[i] + IPV4_LEN;

		messages[i].msg_hdr.msg_name = &victim;
		messages[i].msg_hdr.msg_namelen = sizeof(victim);
		put16(udp, 50000 + (unsigned)i);
		put16(udp + 2, ntohs(victim.sin_port));
		put16(udp + 4, UDP_LEN + DATAGRAM_LEN);
		put16(udp + 6, 0);
		put_vxlan(udp + UDP_LEN, vni);
	}
	flood(s, BATCH, renew_stranger, number(argv[3], 1, 3600));
}

static int open_device(const char *name, int with_vnet_header)
{
	struct sockaddr_ll device = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name) };
	int s = open_socket(AF_PACKET, SOCK_RAW, 0);

	if (bind(s, (struct sockaddr *)&device, sizeof(device)))
		die(name);
	if (with_vnet_header && setsockopt(s, SOL_PACKET, PACKET_VNET_HDR, &with_vnet_header, sizeof(int)))
		die("PACKET_VNET_HDR");
	return s;
}

/**
 * put_frame() - Write Ethernet, IPv4, and UDP or TCP with the pseudo-header sum as checksum
 * @argv:	MAC, ADDRESS, PORT of the destination
 * @packet_len:	Bytes from the IP header on
 *
 * Return: the TCP or UDP header
 */
static uint8_t *put_frame(uint8_t *frame, char **argv, unsigned packet_len, uint8_t protocol)
{
	struct sockaddr_in to = parse_address(argv[1], argv[2]);
	uint32_t from = htonl((ntohl(to.sin_addr.s_addr) & ~0xffu) | 200);
	uint8_t *ip = frame + ETHERNET_LEN, *l4 = ip + IPV4_LEN;
	unsigned checksum_off = protocol == IPPROTO_TCP ? 16 : 6;

	memset(frame, 0, ETHERNET_LEN + packet_len);
	if (sscanf(argv[0], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", frame, frame + 1, frame + 2, frame + 3, frame + 4,
		   frame + 5) != ETH_ALEN)
		usage(argv[0]);
	memcpy(frame + ETH_ALEN, sender, ETH_ALEN);
	put16(frame + 12, ETHERTYPE_IP);
	put_ipv4(ip, packet_len, protocol, from, to.sin_addr.s_addr);
	put16(l4, 40000);
	put16(l4 + 2, ntohs(to.sin_port));
	if (protocol == IPPROTO_TCP) {
		l4[12] = TCP_LEN / 4 << 4;
		l4[13] = TH_ACK;
		put16(l4 + 14, 500);
	} else {
		put16(l4 + 4, packet_len - IPV4_LEN);
	}
	put16(l4 + checksum_off, fold(sum16(ip + 12, 8) + protocol + packet_len - IPV4_LEN));
	return l4;
}

static void run_frames(char **argv)
{
	prepare(FRAME_LEN);
	for (int i = 0; i < BATCH; i++) {
		uint8_t *udp = put_frame(buffers[i], argv + 1, FRAME_LEN - ETHERNET_LEN, IPPROTO_UDP);

		put16(udp + 6, 0);	/* no checksum */
	}
	flood(open_device(argv[0], 0), BATCH, NULL, number(argv[4], 1, 3600));
}

static void run_superframes(char **argv)
{
	int is_tcp = strcmp(argv[4], "tcp") == 0;
	uint8_t protocol = is_tcp ? IPPROTO_TCP : IPPROTO_UDP;
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = is_tcp ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_UDP_L4,
		.hdr_len = ETHERNET_LEN + IPV4_LEN + (is_tcp ? TCP_LEN : UDP_LEN),
		.gso_size = (uint16_t)number(argv[5], 1, 9000),
		.csum_start = ETHERNET_LEN + IPV4_LEN,
		.csum_offset = is_tcp ? 16 : 6,
	};

	if (!is_tcp && strcmp(argv[4], "udp"))
		usage(argv[4]);
	prepare(sizeof(header) + ETHERNET_LEN + SUPERFRAME_LEN);
	memcpy(buffers[0], &header, sizeof(header));
	put_frame(buffers[0] + sizeof(header), argv + 1, SUPERFRAME_LEN, protocol);
	flood(open_device(argv[0], 1), 1, NULL, number(argv[6], 1, 3600));
}

static void run_sink(char **argv)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)number(argv[0], 1, 65535)) };
	int s = open_socket(AF_INET, SOCK_DGRAM, 0), size = RECEIVE_BUFFER, yes = 1;

	if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(s, SOL_UDP, UDP_GRO, &yes, sizeof(yes)))
		die("setsockopt");
	if (bind(s, (struct sockaddr *)&any, sizeof(any)))
		die("bind");
	printf("listening\n");
	fflush(stdout);
	prepare(BUFFER_LEN);
	for (;;)
		if (recvmmsg(s, messages, BATCH, MSG_WAITFORONE, NULL) < 0 && errno != EINTR)
			die("recvmmsg");
}

const struct command commands[] = {
	{ "peer", 5, "ADDRESS PORT VNI one|random SECONDS", run_peer },
	{ "trains", 4, "ADDRESS PORT VNI SECONDS", run_trains },
	{ "strangers", 4, "ADDRESS PORT VNI SECONDS", run_strangers },
	{ "frames", 5, "DEVICE MAC ADDRESS PORT SECONDS", run_frames },
	{ "superframes", 7, "DEVICE MAC ADDRESS PORT tcp|udp SEGMENT SECONDS", run_superframes },
	{ "sink", 1, "PORT", run_sink },
	{ NULL, 0, NULL, NULL },
};

int main(int argc, char **argv)
{
	return run_command(argc, argv);
}
