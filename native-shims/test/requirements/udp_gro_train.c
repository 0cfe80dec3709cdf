/* SPDX-License-Identifier: MIT
 *
 * Linux: a train sent with UDP_SEGMENT arrives whole at a socket with UDP_GRO.
 *
 * Over veth and loopback one receive returns the train with its segment size in a control message
 * (an int); without UDP_GRO the train arrives split. A train that does not fit into the receive
 * buffer counts as one drop of the socket (SK_MEMINFO_DROPS).
 *
 *   child's namespace: vgb 10.0.0.2 ── veth ── vga 10.0.0.1, this process
 */
#include "check.h"
#include "net.h"

#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <sys/wait.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif

#define SEGMENT 1400
#define TRAIN_LEN (20 * SEGMENT + 100)

static int bound(const char *address, int gro)
{
	struct sockaddr_in local = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, address, &local.sin_addr);
	REQUIRE(bind(fd, (struct sockaddr *)&local, sizeof(local)) == 0);
	if (gro)
		REQUIRE(setsockopt(fd, IPPROTO_UDP, UDP_GRO, &(int){ 1 }, sizeof(int)) == 0);
	return fd;
}

static void send_train(int fd, const char *address, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	static uint8_t train[TRAIN_LEN];

	inet_pton(AF_INET, address, &to.sin_addr);
	REQUIRE(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &(int){ SEGMENT }, sizeof(int)) == 0);
	CHECK_EQ(sendto(fd, train, sizeof(train), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(train));
}

/* Length of the next datagram; *segment from the control message, -1 without one. */
static long receive(int fd, int *segment)
{
	static uint8_t buffer[65536];
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { buffer, sizeof(buffer) };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	long len = readable_within(fd, 2000) ? recvmsg(fd, &header, 0) : -1;
	struct cmsghdr *message = len < 0 ? NULL : CMSG_FIRSTHDR(&header);

	*segment = -1;
	if (message) {
		CHECK_EQ(message->cmsg_type, UDP_GRO);
		CHECK_EQ(message->cmsg_len, CMSG_LEN(sizeof(int)));
		memcpy(segment, CMSG_DATA(message), sizeof(*segment));
	}
	return len;
}

static void expect_whole(int fd)
{
	int segment;

	CHECK_EQ(receive(fd, &segment), TRAIN_LEN);
	CHECK_EQ(segment, SEGMENT);
}

static void expect_parts(int fd)
{
	int segment;

	for (int k = 0; k < 20; k++)
		CHECK_EQ(receive(fd, &segment), SEGMENT);
	CHECK_EQ(receive(fd, &segment), 100);
	CHECK_EQ(segment, -1);
}

/*
 * The far side waits for its end of the veth, then sends a train to each port read from the pipe.
 */
static void be_far_side(int from_peer)
{
	uint16_t ports[2];
	int fd;

	if (read(from_peer, ports, sizeof(ports)) != sizeof(ports))
		_exit(1);
	REQUIRE(link_address("vgb", "10.0.0.2") == 0 && link_up("vgb") == 0);
	fd = bound("10.0.0.2", 0);
	for (int k = 0; k < 2; k++)
		send_train(fd, "10.0.0.1", ports[k]);
	_exit(check_failures != 0);
}

static void test_veth(void)
{
	int to_peer[2], ready[2], status, fds[2];
	uint16_t ports[2];
	char command[128];
	pid_t child;

	REQUIRE(pipe(to_peer) == 0 && pipe(ready) == 0);
	child = fork();
	if (child == 0) {
		close(to_peer[1]);
		if (unshare(CLONE_NEWNET) || write(ready[1], "", 1) != 1)
			_exit(1);
		be_far_side(to_peer[0]);
	}
	REQUIRE(read(ready[0], command, 1) == 1);
	snprintf(command, sizeof(command), "ip link add vga type veth peer name vgb netns %d 2>/dev/null", child);
	if (system(command) || link_address("vga", "10.0.0.1") || link_up("vga")) {
		kill(child, SIGKILL);
		SKIP("needs iproute2 and veth");
	}
	for (int k = 0; k < 2; k++) {
		fds[k] = bound("10.0.0.1", k == 0);
		ports[k] = port_of(fds[k]);
	}
	REQUIRE(write(to_peer[1], ports, sizeof(ports)) == sizeof(ports));
	expect_whole(fds[0]);
	expect_parts(fds[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static uint32_t drops_of(int fd)
{
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof(info);

	REQUIRE(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0);
	return info[SK_MEMINFO_DROPS];
}

static void test_drops(int sender)
{
	int full = bound("127.0.0.1", 1);
	uint32_t received = 0;
	int segment;

	REQUIRE(setsockopt(full, SOL_SOCKET, SO_RCVBUF, &(int){ 1 }, sizeof(int)) == 0);
	for (int k = 0; k < 10; k++)
		send_train(sender, "127.0.0.1", port_of(full));
	while (readable_within(full, 0) && receive(full, &segment) > 0)
		received++;
	CHECK(received < 10);
	CHECK_EQ(drops_of(full), 10 - received);
}

int main(void)
{
	int with, without, sender;

	if (!own_network())
		SKIP("needs root");
	with = bound("127.0.0.1", 1);
	without = bound("127.0.0.1", 0);
	sender = bound("127.0.0.1", 0);
	send_train(sender, "127.0.0.1", port_of(with));
	expect_whole(with);
	send_train(sender, "127.0.0.1", port_of(without));
	expect_parts(without);
	test_drops(sender);
	test_veth();
	return check_report();
}
