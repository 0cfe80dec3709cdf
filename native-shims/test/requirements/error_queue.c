/* SPDX-License-Identifier: MIT
 *
 * Linux: ICMP errors of sockets with and without IP_RECVERR.
 *
 * With IP_RECVERR, an ICMP error caused by one destination fails the next send, once, even if that
 * send has another destination. EPOLLERR is reported until the error queue is drained. Without
 * IP_RECVERR an unconnected socket gets no ICMP errors, so a receiving socket needs no draining.
 */
#include "check.h"
#include "net.h"

#include <netinet/in.h>
#include <sys/epoll.h>

static struct sockaddr_in on_loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static int open_socket(int options)
{
	struct peer_row local = row_of("127.0.0.1", 0);
	int fd = udp_open(&local, "", options, 0, 0, 0);

	REQUIRE(fd >= 0);
	return fd;
}

static int send_to(int fd, struct sockaddr_in to)
{
	return sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int epoll_error(int epoll, int timeout_ms)
{
	struct epoll_event event = { 0 };

	return epoll_wait(epoll, &event, 1, timeout_ms) == 1 && event.events & EPOLLERR;
}

static int drain(int fd)
{
	struct msghdr header = { 0 };
	int count = 0;

	while (recvmsg(fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
		count++;
	return count;
}

int main(void)
{
	int listener = open_socket(0), closed = open_socket(0), with = open_socket(UDP_OPEN_RECVERR);
	int without = open_socket(0), epoll = epoll_create1(0);
	struct sockaddr_in reachable = on_loopback(port_of(listener)), unreachable = on_loopback(port_of(closed));
	struct epoll_event event = { 0 };
	uint8_t byte;

	close(closed);
	REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, with, &event) == 0);
	CHECK_EQ(send_to(with, unreachable), 0);
	for (int again = 0; again < 3; again++)
		CHECK(epoll_error(epoll, 1000));
	CHECK_EQ(send_to(with, reachable), -ECONNREFUSED);
	CHECK_EQ(recv(listener, &byte, 1, 0), -1); /* that datagram was not sent */
	CHECK_EQ(send_to(with, reachable), 0);
	CHECK_EQ(recv(listener, &byte, 1, 0), 1);
	CHECK(epoll_error(epoll, 0)); /* the failed send cleared the error, not the message */
	CHECK_EQ(drain(with), 1);
	CHECK(!epoll_error(epoll, 0));
	CHECK_EQ(send_to(with, reachable), 0);

	CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, without, &event), 0);
	CHECK_EQ(send_to(without, unreachable), 0);
	CHECK(!epoll_error(epoll, 50));
	CHECK_EQ(send_to(without, reachable), 0);
	return check_report();
}
