/* SPDX-License-Identifier: MIT
 *
 * Linux: vnet headers of a TAP.
 *
 * A write may leave hdr_len 0. The kernel completes an L4 checksum that holds the pseudo-header
 * sum, not complemented, and refuses (EINVAL) a checksum outside the frame. A receiver in the same
 * namespace does not verify such a frame. With offloads one read returns a whole TCP superframe;
 * without offloads no read does.
 */
#include "check.h"
#include "net.h"

#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/uio.h>

static uint8_t mac[6];

static void know_neighbour(const char *device, const char *ipv4)
{
	struct arpreq neighbour = { .arp_flags = ATF_PERM | ATF_COM };
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, ipv4, &address.sin_addr);
	memcpy(&neighbour.arp_pa, &address, sizeof(address));
	memcpy(neighbour.arp_ha.sa_data, "\x02\0\0\0\0\x01", 6);
	strncpy(neighbour.arp_dev, device, sizeof(neighbour.arp_dev) - 1);
	REQUIRE(ioctl(fd, SIOCSARP, &neighbour) == 0);
	close(fd);
}

static void set_up(void)
{
	struct ifreq interface = { .ifr_name = "vtr0" };
	int forward = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY);

	REQUIRE(link_address("vtr0", "10.0.0.1") == 0 && link_up("vtr0") == 0);
	REQUIRE(link_address("vtr1", "11.0.0.1") == 0 && link_up("vtr1") == 0);
	REQUIRE(ioctl_interface(SIOCGIFHWADDR, &interface) == 0);
	memcpy(mac, interface.ifr_hwaddr.sa_data, 6);
	know_neighbour("vtr0", "10.0.0.2");
	know_neighbour("vtr1", "11.0.0.2");
	REQUIRE(write(forward, "1", 1) == 1);
	close(forward);
}

static long write_with(int tap, struct virtio_net_hdr header, uint8_t *frame, int32_t len)
{
	struct iovec iov[] = { { &header, sizeof(header) }, { frame, (size_t)len } };
	long written = writev(tap, iov, 2);

	return written < 0 ? -errno : written - (long)sizeof(header);
}

/*
 * Checksum validity of the next UDP frame read from a TAP without offloads: 1 valid, 0 invalid, -1
 * no frame.
 */
static int forwarded_checksum_right(int tap)
{
	uint8_t message[10 + 256], *ip = message + 10 + 14;

	while (readable_within(tap, 500) && read(tap, message, sizeof(message)) > 0) {
		if (message[10 + 12] != 0x08 || message[10 + 13] != 0x00 || ip[9] != IPPROTO_UDP)
			continue;
		return sum16(ip + 20, 108, sum16(ip + 12, 8, IPPROTO_UDP + 108u)) == 0xffff;
	}
	return -1;
}

/* Frames enter by one TAP and leave by another that requires complete checksums. */
static void test_checksum(int tap, int out)
{
	struct virtio_net_hdr needs = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6 };
	struct virtio_net_hdr outside = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 300, .csum_offset = 6 };
	struct virtio_net_hdr none = { 0 };
	uint8_t frame[256];
	int32_t len;

	memset(frame, 0x5a, sizeof(frame));
	len = build_udp_frame(frame, mac, "10.0.0.2", "11.0.0.2", 9, 100);
	CHECK_EQ(write_with(tap, needs, frame, len), len);
	CHECK_EQ(forwarded_checksum_right(out), 1);
	CHECK_EQ(write_with(tap, outside, frame, len), -EINVAL);
	CHECK_EQ(write_with(tap, none, frame, len), len);
	CHECK_EQ(forwarded_checksum_right(out), 0);
	put16(frame + 40, (uint16_t)~(frame[40] << 8 | frame[41])); /* complemented */
	CHECK_EQ(write_with(tap, needs, frame, len), len);
	CHECK_EQ(forwarded_checksum_right(out), 0);
}

/*
 * A receiver in the same namespace trusts the flag and does not verify the checksum; neither does a
 * VM behind virtio. A datagram without the flag and with an invalid checksum is dropped by the
 * read, after poll(2) on a non-blocking socket has reported it.
 */
static void test_local_trust(int tap)
{
	struct peer_row local = row_of("10.0.0.1", 0);
	int fd = udp_open(&local, "", 0, 0, 0, 0);
	struct virtio_net_hdr needs = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6 };
	struct virtio_net_hdr none = { 0 };
	uint8_t frame[256] = { 0 }, payload[256];
	int32_t len;

	REQUIRE(fd >= 0);
	len = build_udp_frame(frame, mac, "10.0.0.2", "10.0.0.1", port_of(fd), 100);
	put16(frame + 40, 0xdead);
	CHECK_EQ(write_with(tap, needs, frame, len), len);
	CHECK_EQ(readable_within(fd, 500) ? recv(fd, payload, sizeof(payload), 0) : -1, 100);
	CHECK_EQ(write_with(tap, none, frame, len), len);
	CHECK(readable_within(fd, 500));
	CHECK_EQ(recv(fd, payload, sizeof(payload), 0), -1);
	close(fd);
}

/* Reads the next TCP frame to this port; frames to other ports belong to an earlier connection. */
static int32_t read_tcp(int tap, uint16_t port, uint8_t *frame, int32_t size, struct virtio_net_hdr *header)
{
	while (readable_within(tap, 2000)) {
		struct iovec iov[] = { { header, sizeof(*header) }, { frame, (size_t)size } };
		long got = readv(tap, iov, 2);

		if (got < 0)
			break;
		if (frame[12] == 0x08 && frame[13] == 0x00 && frame[23] == IPPROTO_TCP &&
		    (frame[36] << 8 | frame[37]) == port)
			return (int32_t)(got - (long)sizeof(*header));
	}
	return -1;
}

static void answer_syn(int tap, const uint8_t *syn)
{
	struct virtio_net_hdr needs = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 };
	uint8_t frame[14 + 20 + 24] = { 0 }, *ip = frame + 14, *tcp = ip + 20;
	uint32_t seq;

	memcpy(frame, mac, 6);
	memcpy(frame + 6, "\x02\0\0\0\0\x01", 6);
	put16(frame + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, 44);
	ip[8] = 64;
	ip[9] = IPPROTO_TCP;
	memcpy(ip + 12, syn + 30, 4);
	memcpy(ip + 16, syn + 26, 4);
	put16(ip + 10, (uint16_t)~sum16(ip, 20, 0));
	memcpy(tcp, syn + 36, 2);
	memcpy(tcp + 2, syn + 34, 2);
	memcpy(&seq, syn + 38, 4);
	seq = htonl(ntohl(seq) + 1);
	memcpy(tcp + 8, &seq, 4);
	tcp[12] = 6 << 4;
	tcp[13] = 0x12; /* SYN, ACK */
	put16(tcp + 14, 65535);
	memcpy(tcp + 20, "\x02\x04\x05\xb4", 4); /* MSS 1,460 */
	put16(tcp + 16, sum16(ip + 12, 8, IPPROTO_TCP + 24));
	CHECK_EQ(write_with(tap, needs, frame, sizeof(frame)), sizeof(frame));
}

/*
 * TCP handshake by hand: this program acts as 10.0.0.2, lets the stack of 10.0.0.1 connect, and
 * checks how 12,000 bytes are read from the TAP.
 */
static void test_superframe(int tap, uint16_t port, uint32_t offload)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct virtio_net_hdr header;
	static uint8_t frame[65600], data[12000];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int32_t longest = 0, len;

	REQUIRE(tap_set_offload(tap, offload) == 0);
	inet_pton(AF_INET, "10.0.0.2", &to.sin_addr);
	CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	REQUIRE(read_tcp(tap, port, frame, sizeof(frame), &header) > 0);
	answer_syn(tap, frame);
	REQUIRE(read_tcp(tap, port, frame, sizeof(frame), &header) > 0);
	CHECK_EQ(send(fd, data, sizeof(data), 0), sizeof(data));
	for (int32_t sum = 0; sum < (int32_t)sizeof(data); sum += len - 54) {
		len = read_tcp(tap, port, frame, sizeof(frame), &header);
		REQUIRE(len > 0);
		if (len <= longest)
			continue;
		longest = len;
		CHECK_EQ(header.gso_type, len > 1514 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_NONE);
		CHECK_EQ(header.gso_size, len > 1514 ? 1460 : 0);
		CHECK_EQ(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, offload != 0);
	}
	if (offload)
		CHECK(longest > 5000);
	else
		CHECK_EQ(longest, 1514);
	close(fd);
}

int main(void)
{
	int tap, out;

	if (access("/dev/net/tun", R_OK | W_OK) || !own_network())
		SKIP("needs root and /dev/net/tun");
	tap = tap_open("vtr0", 0);
	out = tap_open("vtr1", 0);
	REQUIRE(tap >= 0 && out >= 0);
	set_up();
	test_checksum(tap, out);
	test_local_trust(tap);
	test_superframe(tap, 5001, 0);
	test_superframe(tap, 5002, TUN_F_CSUM | TUN_F_TSO4);
	close(tap);
	close(out);
	return check_report();
}
