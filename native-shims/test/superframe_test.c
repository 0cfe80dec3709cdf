/* SPDX-License-Identifier: MIT
 *
 * A superframe through a real TAP and the kernel's stack.
 *
 * The superframe is sent by a socket with UDP_SEGMENT, read whole, split, merged again, written and
 * received. Also covers superframes that the kernel refuses on write.
 *
 *   UDP socket 10.0.0.1 ── IP stack ── vts0 (TAP) ── this program as 10.0.0.2, an echo
 */
#include "../coalesce.h"
#include "../inner.h"
#include "../segment.h"
#include "check.h"
#include "net.h"
#include "random.h"

#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/udp.h>
#include <net/if_arp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ARENA_LEN (1 << 20)
#define PORT 4000
#define SEGMENT_LEN 1200
#define PAYLOAD_LEN (20 * SEGMENT_LEN + 1)

/* Missing in the headers of Debian 12. */
#define TUN_USO4 0x20
#define TUN_USO6 0x40

static struct arena arena;
static struct batch frames, segments;
static uint8_t sent[PAYLOAD_LEN], received[PAYLOAD_LEN];

static void set_up(void)
{
	struct arpreq neighbour = { .arp_flags = ATF_PERM | ATF_COM, .arp_dev = "vts0" };
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	REQUIRE(link_address("vts0", "10.0.0.1") == 0 && link_up("vts0") == 0);
	inet_pton(AF_INET, "10.0.0.2", &address.sin_addr);
	memcpy(&neighbour.arp_pa, &address, sizeof(address));
	memcpy(neighbour.arp_ha.sa_data, "\x02\0\0\0\0\x01", 6);
	REQUIRE(ioctl(fd, SIOCSARP, &neighbour) == 0);
	close(fd);
	random_fill(sent, PAYLOAD_LEN);
}

static int open_socket(void)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons(PORT) }, to = from;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = SEGMENT_LEN;

	inet_pton(AF_INET, "10.0.0.1", &from.sin_addr);
	inet_pton(AF_INET, "10.0.0.2", &to.sin_addr);
	REQUIRE(bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0);
	REQUIRE(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	REQUIRE(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) == 0);
	return fd;
}

static int is_ours(int i)
{
	const uint8_t *frame = arena.base + frames.off[i];

	return load16(frame + 12) == 0x0800 && frame[14 + IPV4_PROTOCOL] == IPPROTO_UDP;
}

/*
 * Reads until the test's own frame arrives, ignoring frames of the kernel, and makes it entry 0.
 * Returns 0 if it does not arrive.
 */
static int read_ours(int tap)
{
	struct tap_region region = { .off = 0, .end = ARENA_LEN / 2, .headroom = VXLAN_LEN, .slot_len = 65558 };

	while (readable_within(tap, 2000)) {
		int count = tap_read_batch(tap, arena, &frames, 0, 0, region);

		for (int i = 0; i < count; i++) {
			if (!is_ours(i))
				continue;
			frames.off[0] = frames.off[i];
			frames.len[0] = frames.len[i];
			frames.gso_type[0] = frames.gso_type[i];
			frames.gso_size[0] = frames.gso_size[i];
			frames.csum_start[0] = frames.csum_start[i];
			frames.csum_off[0] = frames.csum_off[i];
			frames.flags[0] = frames.flags[i];
			return 1;
		}
	}
	return 0;
}

static void swap_bytes(uint8_t *a, uint8_t *b, size_t len)
{
	while (len--) {
		uint8_t byte = a[len];

		a[len] = b[len];
		b[len] = byte;
	}
}

/* Swaps source and destination, which leaves checksums valid. */
static void swap_ends(uint8_t *frame)
{
	swap_bytes(frame, frame + 6, 6);
	swap_bytes(frame + 26, frame + 30, 4);
	swap_bytes(frame + 34, frame + 36, 2);
}

/* Splits entry 0 of frames into segments that are returned to the sender. */
static int turn_back(void)
{
	struct superframe super;
	int32_t off = ARENA_LEN / 2;

	frames.off[0] -= VXLAN_LEN;
	frames.len[0] += VXLAN_LEN;
	frames.csum_start[0] += VXLAN_LEN;
	REQUIRE(segment_check(&super, arena.base + frames.off[0], &frames, 0) == 0);
	for (int k = 0; k < super.count; k++) {
		uint8_t headers[SEGMENT_HEADERS_MAX], *frame = arena.base + off;
		struct iovec payload = segment_write(&super, k, headers);
		int32_t inner_len = super.headers_len - VXLAN_LEN;

		memcpy(frame, headers + VXLAN_LEN, (size_t)inner_len);
		memcpy(frame + inner_len, payload.iov_base, payload.iov_len);
		swap_ends(frame);
		segments.off[k] = off;
		segments.len[k] = inner_len + (int32_t)payload.iov_len;
		off += segments.len[k];
	}
	return super.count;
}

/* Receives PAYLOAD_LEN bytes and compares them with those sent. Returns the number of messages. */
static int receive_all(int fd)
{
	size_t at = 0;
	int messages = 0;

	while (at < PAYLOAD_LEN && readable_within(fd, 2000)) {
		long got = recv(fd, received + at, PAYLOAD_LEN - at, 0);

		if (!CHECK(got > 0))
			break;
		at += (size_t)got;
		messages++;
	}
	CHECK_EQ(at, PAYLOAD_LEN);
	CHECK(memcmp(sent, received, PAYLOAD_LEN) == 0);
	memset(received, 0, PAYLOAD_LEN);
	return messages;
}

static void test_whole_way(int tap, int fd)
{
	struct merge_result result = { 0 };
	int one = 1;

	for (int gro = 0; gro < 2; gro++) {
		REQUIRE(send(fd, sent, PAYLOAD_LEN, 0) == PAYLOAD_LEN);
		REQUIRE(read_ours(tap));
		CHECK_EQ(frames.len[0], 14 + 20 + 8 + PAYLOAD_LEN);
		CHECK_EQ(frames.gso_type[0], FRAME_GSO_UDP_L4);
		CHECK_EQ(frames.gso_size[0], SEGMENT_LEN);
		CHECK_EQ(turn_back(), 21);
		CHECK_EQ(tap_write_batch(&tap, 1, arena, &segments, 21, MERGE_UDP, &result), 0);
		CHECK_EQ(result.taken, MERGE_UDP);
		CHECK_EQ(result.refused, 0);
		CHECK_EQ(receive_all(fd), gro ? 1 : 21);
		REQUIRE(setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)) == 0);
	}
}

/*
 * Makes writev fail with EINVAL in this process from now on, as on a kernel without USO. If
 * from_peers is set, writes of two pieces fail: a header and a frame, as for a superframe from a
 * peer. Otherwise writes of more pieces fail, as for a superframe that was merged here.
 */
static int refuse_superframes(int from_peers)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_writev, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]) +
							   (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0)),
		BPF_JUMP(BPF_JMP | (from_peers ? BPF_JEQ : BPF_JGT) | BPF_K, 2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/*
 * If the kernel refuses a superframe that was merged here, it is written segment by segment, and
 * the caller is informed.
 */
static void test_refused(int tap, int fd)
{
	struct merge_result result = { 0 };

	if (refuse_superframes(0)) {
		printf("# no seccomp: refusal not tested\n");
		return;
	}
	CHECK_EQ(tap_write_batch(&tap, 1, arena, &segments, 21, MERGE_UDP, &result), 0);
	for (int i = 0; i < 21; i++)
		CHECK_EQ(segments.status[i], 0);
	CHECK_EQ(result.taken, 0);
	CHECK_EQ(result.refused, MERGE_UDP);
	CHECK_EQ(receive_all(fd), 21);
}

/*
 * If the kernel refuses a superframe from a peer, it is written segment by segment, and the caller
 * is not informed. Runs in its own process, since the filter is permanent.
 */
static void test_refused_of_peer(int tap, int fd)
{
	struct merge_result result = { 0 };
	pid_t child;
	int status;

	REQUIRE(setsockopt(fd, IPPROTO_UDP, UDP_GRO, &(int){ 0 }, sizeof(int)) == 0);
	REQUIRE(send(fd, sent, PAYLOAD_LEN, 0) == PAYLOAD_LEN);
	REQUIRE(read_ours(tap));
	swap_ends(arena.base + frames.off[0]);
	child = fork();
	if (child) {
		REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
		CHECK_EQ(status, 0);
		CHECK_EQ(receive_all(fd), 21);
		return;
	}
	if (refuse_superframes(1))
		printf("# no seccomp: refusal not tested\n");
	CHECK_EQ(tap_write_batch(&tap, 1, arena, &frames, 1, MERGE_UDP, &result), 0);
	CHECK_EQ(frames.status[0], 0);
	CHECK_EQ(result.taken | result.refused, 0);
	fflush(stdout);
	_exit(check_report());
}

int main(void)
{
	int tap, fd;

	if (access("/dev/net/tun", R_OK | W_OK) || !own_network())
		SKIP("needs root and /dev/net/tun");
	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
	tap = tap_open("vts0", 0);
	REQUIRE(tap >= 0);
	if (tap_set_offload(tap, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_USO4 | TUN_USO6))
		SKIP("needs Linux 6.2: USO");
	set_up();
	fd = open_socket();
	test_whole_way(tap, fd);
	test_refused_of_peer(tap, fd);
	test_refused(tap, fd);
	close(fd);
	close(tap);
	free(arena.base);
	return check_report();
}
