/* SPDX-License-Identifier: MIT
 *
 * A real TAP with the kernel's IP stack behind it, in a separate network namespace.
 *
 * Frames are read as they were sent, the kernel completes checksums and segments after a write, and
 * errors are returned for a device that is down, in use, or not a TAP.
 *
 *   UDP socket 10.0.0.1 ── IP stack ── vtt0 (TAP) ── this program, playing 10.0.0.2
 */
#include "check.h"
#include "net.h"

#include <linux/if_tun.h>
#include <net/if_arp.h>
#include <netinet/in.h>

#define ARENA_LEN (4 << 20)

/* Missing in the headers of Debian 12. */
#define TUN_USO4 0x20
#define TUN_USO6 0x40

static struct arena arena;
static struct batch batch;
static uint8_t tap_mac[6];

static void test_open_refuses(void)
{
	CHECK_EQ(tap_open("", 0), -EINVAL);
	CHECK_EQ(tap_open("vtt%d", 0), -EINVAL);
	CHECK_EQ(tap_open("sixteen-bytes-xx", 0), -EINVAL);
	CHECK_EQ(tap_open("a/b", 0), -EINVAL);
	CHECK(tap_open("lo", 0) < 0);
	CHECK_EQ(tap_open("vtt0", 0), -EBUSY);
}

/*
 * An existing device with another header size is read correctly, and still exists after it is
 * closed.
 */
static void test_adopt(void)
{
	struct ifreq request = { .ifr_name = "vtt1", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR), header_len = 12;

	REQUIRE(ioctl(fd, TUNSETIFF, &request) == 0 && ioctl(fd, TUNSETPERSIST, 1UL) == 0);
	REQUIRE(ioctl(fd, TUNSETVNETHDRSZ, &header_len) == 0);
	close(fd);
	fd = tap_open("vtt1", 0);
	REQUIRE(fd >= 0);
	CHECK_EQ(ioctl(fd, TUNGETVNETHDRSZ, &header_len), 0);
	CHECK_EQ(header_len, 10);
	close(fd);
	CHECK(if_nametoindex("vtt1") != 0);
	fd = tap_open("vtt1", 0);
	CHECK_EQ(ioctl(fd, TUNSETPERSIST, 0UL), 0);
	close(fd);
}

static void test_down(int tap)
{
	memset(&batch, 0, sizeof(batch));
	batch.len[0] = build_udp_frame(arena.base, tap_mac, "10.0.0.2", "10.0.0.1", 9, 18);
	CHECK_EQ(tap_write_batch(&tap, 1, arena, &batch, 1, 0, NULL), 1);
	CHECK_EQ(batch.status[0], -EIO);
}

static void set_up(void)
{
	struct ifreq interface = { .ifr_name = "vtt0" };
	struct arpreq neighbour = { .arp_flags = ATF_PERM | ATF_COM, .arp_dev = "vtt0" };
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	REQUIRE(link_address("vtt0", "10.0.0.1") == 0 && link_up("vtt0") == 0);
	REQUIRE(ioctl_interface(SIOCGIFHWADDR, &interface) == 0);
	memcpy(tap_mac, interface.ifr_hwaddr.sa_data, 6);
	inet_pton(AF_INET, "10.0.0.2", &address.sin_addr);
	memcpy(&neighbour.arp_pa, &address, sizeof(address));
	memcpy(neighbour.arp_ha.sa_data, "\x02\0\0\0\0\x01", 6);
	REQUIRE(ioctl(fd, SIOCSARP, &neighbour) == 0);
	close(fd);
}

/* Reads until count frames of UDP over IPv4 have arrived, ignoring the kernel's own frames. */
static int read_udp(int tap, int count)
{
	struct tap_region region = { .off = 0, .end = ARENA_LEN, .headroom = 8, .slot_len = 65558 };
	int found = 0;

	while (found < count && readable_within(tap, 2000)) {
		int got = tap_read_batch(tap, arena, &batch, found, 3, region);

		if (!CHECK(got > 0))
			break;
		for (int i = found, end = found + got; i < end; i++) {
			const uint8_t *frame = arena.base + batch.off[i];

			region.off = batch.off[i] + batch.len[i];
			CHECK_EQ(batch.off[i] % 64, 8);
			CHECK_EQ(batch.vni_idx[i], 3);
			if (frame[12] != 0x08 || frame[13] != 0x00 || frame[23] != IPPROTO_UDP)
				continue;
			batch.off[found] = batch.off[i];
			batch.len[found] = batch.len[i];
			batch.flags[found] = batch.flags[i];
			batch.csum_start[found] = batch.csum_start[i];
			batch.csum_off[found] = batch.csum_off[i];
			batch.gso_type[found] = batch.gso_type[i];
			batch.gso_size[found] = batch.gso_size[i];
			found++;
		}
	}
	return found;
}

static void send_payload(int fd, int32_t len)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(4000) };
	static uint8_t payload[1472];

	memset(payload, len, sizeof(payload));
	inet_pton(AF_INET, "10.0.0.2", &to.sin_addr);
	CHECK_EQ(sendto(fd, payload, (size_t)len, 0, (struct sockaddr *)&to, sizeof(to)), len);
}

/* True if the UDP checksum of a frame made by build_udp_frame() is valid. */
static int is_sound(const uint8_t *frame, int32_t len)
{
	uint16_t udp_len = (uint16_t)(len - 34);

	return sum16(frame + 34, udp_len, sum16(frame + 26, 8, (uint32_t)IPPROTO_UDP + udp_len)) == 0xffff;
}

/* Each frame read has a complete checksum, whether the kernel or tap_read_batch() completed it. */
static void test_read(int tap, int socket_fd)
{
	const int32_t lens[] = { 0, 1, 18, 100, 1471, 1472 };
	enum { COUNT = sizeof(lens) / sizeof(lens[0]) };

	for (int offload = 0; offload < 2; offload++) {
		CHECK_EQ(tap_set_offload(tap, offload ? TUN_F_CSUM : 0), 0);
		for (int k = 0; k < COUNT; k++)
			send_payload(socket_fd, lens[k]);
		if (!CHECK_EQ(read_udp(tap, COUNT), COUNT))
			continue;
		for (int k = 0; k < COUNT; k++) {
			CHECK_EQ(batch.len[k], UDP_FRAME_HEADERS + lens[k]);
			CHECK_EQ(arena.base[batch.off[k] + batch.len[k] - 1], lens[k] ? lens[k] & 0xff :
									      arena.base[batch.off[k] + 41]);
			CHECK(is_sound(arena.base + batch.off[k], batch.len[k]));
			CHECK_EQ(batch.flags[k], 0);
			CHECK_EQ(batch.gso_type[k], FRAME_GSO_NONE);
		}
	}
	CHECK_EQ(tap_set_offload(tap, 0), 0);
	CHECK_EQ(read_udp(tap, 0), 0);
}

static void test_offload(int tap)
{
	int uso = tap_set_offload(tap, TUN_F_CSUM | TUN_USO4 | TUN_USO6);

	CHECK_EQ(tap_set_offload(tap, TUN_F_CSUM | TUN_F_TSO4), 0);
	CHECK(uso == 0 || uso == -EINVAL); /* since Linux 6.2 */
	CHECK_EQ(tap_set_offload(tap, 0x40000000), -EINVAL);
	CHECK_EQ(tap_set_offload(-1, 0), -EBADF);
	CHECK_EQ(tap_set_offload(tap, 0), 0);
}

/*
 * The kernel completes the checksums of a batch of frames; the socket receives each payload, in
 * order.
 */
static void test_write(int tap, int socket_fd)
{
	const int32_t fds[] = { -1, tap };
	uint8_t payload[256];

	memset(&batch, 0, sizeof(batch));
	for (int32_t i = 0; i < BATCH_CAP; i++) {
		batch.off[i] = i * 512;
		memset(arena.base + batch.off[i] + UDP_FRAME_HEADERS, i, 100);
		batch.len[i] = build_udp_frame(arena.base + batch.off[i], tap_mac, "10.0.0.2", "10.0.0.1",
					       port_of(socket_fd), 100);
		batch.vni_idx[i] = i == 50 ? 0 : 1;
		batch.flags[i] = FRAME_NEEDS_CSUM;
		batch.csum_start[i] = 34;
		batch.csum_off[i] = 6;
		batch.verdict[i] = i == 60;
	}
	CHECK_EQ(tap_write_batch(fds, 2, arena, &batch, BATCH_CAP, 0, NULL), 1);
	for (int32_t i = 0; i < BATCH_CAP; i++) {
		CHECK_EQ(batch.status[i], i == 50 ? -EBADF : 0);
		if (i == 50 || i == 60)
			continue;
		CHECK_EQ(readable_within(socket_fd, 2000) ? recv(socket_fd, payload, sizeof(payload), 0) : -1, 100);
		CHECK_EQ(payload[0], i);
		CHECK_EQ(payload[99], i);
	}
}

/* A superframe of 10 segments of 1,000 bytes and a last one of 1 byte arrives as 11 datagrams. */
static void test_write_superframe(int tap, int socket_fd)
{
	uint8_t payload[2000];

	memset(&batch, 0, sizeof(batch));
	for (int k = 0; k <= 10; k++)
		memset(arena.base + UDP_FRAME_HEADERS + k * 1000, k, 1000);
	batch.len[0] = build_udp_frame(arena.base, tap_mac, "10.0.0.2", "10.0.0.1", port_of(socket_fd), 10001);
	batch.flags[0] = FRAME_NEEDS_CSUM;
	batch.csum_start[0] = 34;
	batch.csum_off[0] = 6;
	batch.gso_type[0] = FRAME_GSO_UDP_L4;
	batch.gso_size[0] = 1000;
	if (tap_write_batch(&tap, 1, arena, &batch, 1, 0, NULL)) {
		CHECK_EQ(batch.status[0], -EINVAL); /* a kernel without USO, before 6.2 */
		return;
	}
	for (int k = 0; k <= 10; k++) {
		CHECK_EQ(readable_within(socket_fd, 2000) ? recv(socket_fd, payload, sizeof(payload), 0) : -1,
			 k < 10 ? 1000 : 1);
		CHECK_EQ(payload[0], k);
	}
}

/*
 * The kernel supports no checksum beyond byte 65,535 of its buffer, headroom included. A frame with
 * such a checksum is written without offload, and a superframe with one is refused.
 */
static void test_write_again_plain(int tap)
{
	memset(&batch, 0, sizeof(batch));
	build_udp_frame(arena.base, tap_mac, "10.0.0.2", "10.0.0.1", 9, 0);
	for (int i = 0; i < 2; i++) {
		batch.len[i] = 65550;
		batch.flags[i] = FRAME_NEEDS_CSUM;
		batch.csum_start[i] = 65530;
		batch.csum_off[i] = 6;
	}
	batch.gso_type[1] = FRAME_GSO_UDP_L4;
	batch.gso_size[1] = 1000;
	CHECK_EQ(tap_write_batch(&tap, 1, arena, &batch, 2, 0, NULL), 1);
	CHECK_EQ(batch.status[0], 0);
	CHECK_EQ(batch.status[1], -EINVAL);
}

int main(void)
{
	struct peer_row local = row_of("10.0.0.1", 0);
	int tap, socket_fd;

	if (access("/dev/net/tun", R_OK | W_OK) || !own_network())
		SKIP("needs root and /dev/net/tun");
	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
	tap = tap_open("vtt0", 0);
	REQUIRE(tap >= 0);
	CHECK(fcntl(tap, F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(tap, F_GETFD) & FD_CLOEXEC);
	test_open_refuses();
	test_adopt();
	test_down(tap);
	set_up();
	socket_fd = udp_open(&local, "", 0, 0, 0, 0);
	REQUIRE(socket_fd >= 0);
	test_read(tap, socket_fd);
	test_offload(tap);
	test_write(tap, socket_fd);
	test_write_superframe(tap, socket_fd);
	test_write_again_plain(tap);
	close(tap);
	CHECK(if_nametoindex("vtt0") == 0); /* not persistent: removed with its descriptor */
	close(socket_fd);
	free(arena.base);
	return check_report();
}
