/* SPDX-License-Identifier: MIT
 *
 * Superframes sent whole through the outer TAP.
 *
 * The received segments equal those of segment.c. This is tested with a device that accepts
 * superframes and with a device that leaves segmentation to the kernel. A superframe that may not
 * be sent whole is sent as segments.
 *
 *   process ─ outer TAP ─ program ─ veth "near" 10.77.0.1 ─┼─ "far" 10.77.0.2, a UDP socket
 *                                                    two namespaces
 */
#include "check.h"
#include "frame.h"
#include "net.h"

#include "../inner.h"
#include "../tunnel.h"

#include <linux/veth.h>
#include <sys/wait.h>

#define PORT 4789
#define MSS 1000
#define PAYLOAD_LEN 9500
#define SEGMENTS 10

static uint8_t memory[80000];
static struct arena arena = { memory, sizeof(memory) };
static struct batch batch;
static int32_t fds[SEND_SOCKETS];
static struct peer_row peer;
static struct tunnel tunnel;
static struct path_errors errors;

static int run(const char *command)
{
	return system(command);
}

/* Opens the far socket in the namespace to which the veth's other end is moved. */
static int open_far(void)
{
	int near_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct peer_row local = row_of("10.77.0.2", PORT);
	char command[256];
	int fd, on = 1;

	REQUIRE(near_ns >= 0);
	REQUIRE(run("ip link add near type veth peer name far && ip address add 10.77.0.1/24 dev near && "
		    "ip link set near up") == 0);
	REQUIRE(unshare(CLONE_NEWNET) == 0);
	snprintf(command, sizeof(command), "nsenter --net=/proc/%d/fd/%d ip link set far netns %d", getpid(), near_ns,
		 getpid());
	REQUIRE(run(command) == 0);
	REQUIRE(run("ip address add 10.77.0.2/24 dev far && ip link set far up") == 0);
	fd = udp_open(&local, "", UDP_OPEN_RECEIVE | UDP_OPEN_NO_GRO, 4 << 20, 0, 0);
	REQUIRE(fd >= 0);
	REQUIRE(setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)) == 0);
	REQUIRE(setns(near_ns, CLONE_NEWNET) == 0);
	close(near_ns);
	return fd;
}

static void open_tunnel(void)
{
	tunnel.fd = tunnel_open("outer");
	if (tunnel.fd == -EINVAL)
		SKIP("this kernel has no TUN_F_UDP_TUNNEL_GSO");
	REQUIRE(tunnel.fd >= 0);
	REQUIRE(run("ip link set outer up && echo 1 > /proc/sys/net/ipv4/conf/outer/forwarding") == 0);
	REQUIRE(tunnel_attach((int)if_nametoindex("outer"), 0) >= 0);
	inet_pton(AF_INET, "10.77.0.1", tunnel.local);
	tunnel.mtu = 1500;
	tunnel.ttl = 64;
	tunnel.options = TUNNEL_DF | TUNNEL_CHECKSUM;
	tunnel.ports[0] = port_of(fds[0]);
}

/* Builds a TCP superframe with its VXLAN header, as produced by the TAP and encap. */
static void make_superframe(int32_t payload_len)
{
	uint8_t *frame = memory + VXLAN_LEN, *ip = frame + 14, *tcp = ip + 20;
	int32_t tcp_len = 20 + payload_len;

	memset(&batch, 0, sizeof(batch));
	memset(memory, 0, 128);
	memory[0] = 8;
	memory[6] = 100;
	memcpy(frame, "\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0", 14);
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)(20 + tcp_len));
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = IPPROTO_TCP;
	memcpy(ip + 12, "\x0a\x0a\x0a\x01\x0a\x0a\x0a\x02", 8);
	put16(ip + 10, (uint16_t)~sum16(ip, 20, 0));
	put16(tcp, 40000);
	put16(tcp + 2, 5201);
	tcp[12] = 5 << 4;
	tcp[13] = 0x18;
	put16(tcp + 16, sum16(ip + 12, 8, (uint32_t)(IPPROTO_TCP + tcp_len)));
	for (int32_t k = 0; k < payload_len; k++)
		tcp[20 + k] = (uint8_t)(k * 7 + k / 251);
	batch.len[0] = VXLAN_LEN + 14 + 20 + tcp_len;
	batch.gso_type[0] = FRAME_GSO_TCPV4;
	batch.gso_size[0] = MSS;
	batch.csum_start[0] = VXLAN_LEN + 34;
	batch.csum_off[0] = 16;
	batch.flags[0] = FRAME_NEEDS_CSUM;
}

/*
 * Turns the same bytes into a UDP superframe: its header is 12 bytes shorter, its payload 12 bytes
 * longer.
 */
static void make_udp(void)
{
	uint8_t *ip = memory + VXLAN_LEN + 14, *udp = ip + 20;
	int32_t udp_len = batch.len[0] - VXLAN_LEN - 34;

	ip[9] = IPPROTO_UDP;
	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~sum16(ip, 20, 0));
	put16(udp + 4, (uint16_t)udp_len);
	put16(udp + 6, sum16(ip + 12, 8, (uint32_t)(IPPROTO_UDP + udp_len)));
	batch.gso_type[0] = FRAME_GSO_UDP_L4;
	batch.csum_off[0] = 6;
}

static int send_one(void)
{
	return udp_send_batch(fds, &peer, 1, arena, &batch, 1, 64, NULL, &tunnel, &errors);
}

/* Expects every segment, in order, as written by segment.c. */
static void expect_segments(int far)
{
	struct superframe super;

	REQUIRE(segment_check(&super, memory, &batch, 0) == 0);
	for (int32_t k = 0; k < super.count; k++) {
		uint8_t wanted[2048], found[2048];
		struct iovec payload = segment_write(&super, k, wanted);
		struct sockaddr_in from;
		socklen_t from_len = sizeof(from);
		ssize_t got;

		memcpy(wanted + super.headers_len, payload.iov_base, payload.iov_len);
		if (!CHECK(readable_within(far, 1000)))
			return;
		got = recvfrom(far, found, sizeof(found), 0, (struct sockaddr *)&from, &from_len);
		CHECK_EQ(got, super.headers_len + (int32_t)payload.iov_len);
		CHECK(got > 0 && !memcmp(wanted, found, (size_t)got));
		CHECK_EQ(ntohs(from.sin_port), tunnel.ports[0]);
		CHECK_EQ(from.sin_addr.s_addr, inet_addr("10.77.0.1"));
	}
	CHECK(!readable_within(far, 20));
}

/* Expects a superframe that crosses the veth whole: inner checksum and segmentation postponed. */
static void expect_whole(int far, int32_t len)
{
	static uint8_t found[65536];

	REQUIRE(readable_within(far, 1000));
	CHECK_EQ(recv(far, found, sizeof(found), 0), len);
	CHECK(!memcmp(found, memory, (size_t)len));
	CHECK(!readable_within(far, 20));
}

/* Expects the outer header of the next segment. */
static void expect_outer(int far, int tos, int ttl)
{
	static uint8_t found[2048];
	union {
		struct cmsghdr align;
		uint8_t bytes[128];
	} control;
	struct iovec iov = { found, sizeof(found) };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof(control) };
	int found_tos = -1, found_ttl = -1;

	REQUIRE(readable_within(far, 1000));
	REQUIRE(recvmsg(far, &header, MSG_PEEK) > 0);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			found_tos = *CMSG_DATA(c);
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL)
			memcpy(&found_ttl, CMSG_DATA(c), sizeof(int));
	}
	CHECK_EQ(found_tos, tos);
	CHECK_EQ(found_ttl, ttl);
}

static int wait_for_near(void)
{
	char command[] = "ping -c 1 -W 1 10.77.0.2 >/dev/null 2>&1";

	for (int tries = 0; tries < 20; tries++)
		if (run(command) == 0)
			return 1;
	return 0;
}

int main(void)
{
	struct peer_row any = row_of("0.0.0.0", 0);
	int far;

	if (!own_network())
		SKIP("needs root");
	memset(fds, -1, sizeof(fds));
	fds[0] = udp_open(&any, "", UDP_OPEN_RECVERR, 0, 4 << 20, 64);
	REQUIRE(fds[0] >= 0);
	far = open_far();
	open_tunnel();
	REQUIRE(wait_for_near());
	peer = row_of("10.77.0.2", PORT);
	peer.flags = PEER_TUNNEL;
	CHECK_EQ(policy_count(), 0);
	CHECK_EQ(tunnel_segmentation("near"), TUNNEL_GSO | TUNNEL_GSO_CSUM);
	CHECK_EQ(tunnel_segmentation("nowhere"), -ENODEV);

	make_superframe(PAYLOAD_LEN);
	CHECK_EQ(send_one(), 0);
	CHECK_EQ(tunnel.error, 0);
	CHECK_EQ(tunnel.id, SEGMENTS);
	expect_whole(far, batch.len[0]);

	/* Otherwise veth would leave the segments' checksums incomplete. */
	REQUIRE(run("ethtool -K near tx off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off "
		    ">/dev/null 2>&1") == 0);
	CHECK_EQ(tunnel_segmentation("near"), 0);
	CHECK_EQ(send_one(), 0);
	CHECK_EQ(tunnel.id, 2 * SEGMENTS);
	expect_outer(far, 0, 64);
	expect_segments(far);
	tunnel.options = TUNNEL_DF;
	batch.tos[0] = 0x2b;
	CHECK_EQ(send_one(), 0);
	expect_outer(far, 0x2b, 64);
	expect_segments(far);
	CHECK_EQ(tunnel.id, 3 * SEGMENTS);

	/*
	 * If the DF of a superframe differs from that of the outer TAP, or if the superframe must
	 * be fragmented, a socket with the right DF sends its segments.
	 */
	fds[2 * SOURCE_SOCKETS] = fds[0];
	for (batch.df[0] = DF_CLEAR; batch.df[0] <= DF_CLEAR_TOO_BIG; batch.df[0]++) {
		CHECK_EQ(send_one(), 0);
		expect_outer(far, 0x2b, 64);
		expect_segments(far);
	}
	CHECK_EQ(tunnel.id, 3 * SEGMENTS);
	tunnel.options = 0;
	batch.df[0] = DF_SET;
	CHECK_EQ(send_one(), 0);
	expect_segments(far);
	CHECK_EQ(tunnel.id, 3 * SEGMENTS);
	tunnel.options = TUNNEL_DF;

	/*
	 * A superframe is not sent whole if its segments are too large for the path MTU, if the
	 * peer has no PEER_TUNNEL, if it is UDP, or if the kernel refuses it.
	 */
	tunnel.mtu = MSS;
	CHECK_EQ(send_one(), 0);
	CHECK_EQ(tunnel.id, 3 * SEGMENTS);
	expect_segments(far);
	tunnel.mtu = 1500;
	peer.flags = 0;
	CHECK_EQ(send_one(), 0);
	CHECK_EQ(tunnel.id, 3 * SEGMENTS);
	expect_segments(far);
	peer.flags = PEER_TUNNEL;
	make_udp();
	CHECK_EQ(send_one(), 0);
	CHECK_EQ(tunnel.id, 3 * SEGMENTS); /* UDP is never sent whole */
	expect_segments(far);
	make_superframe(PAYLOAD_LEN);
	REQUIRE(run("ip link set outer down") == 0);
	CHECK_EQ(send_one(), 0);
	CHECK_EQ(tunnel.error, -EIO);
	expect_segments(far);
	return check_report();
}
