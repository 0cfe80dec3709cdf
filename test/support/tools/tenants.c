/* SPDX-License-Identifier: MIT
 *
 * Sends the records of a file: frames to a device, or trains of datagrams to a peer.
 *
 * A frame has the virtio_net_hdr that a VM would write (packet(7), PACKET_VNET_HDR); trains use
 * UDP_SEGMENT (udp(7)). Prints the number of each record that the kernel refuses.
 *
 *	tenants frames FILE DEVICE			records: length, header and frame
 *	tenants trains FILE ADDRESS PORT SOURCE		records: length, segment size, payload
 */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_packet.h>

/* Number of records sent without a pause; fits into a device's queue and a socket's buffer. */
#define BURST 16

static char bytes[1 << 17];

static int open_device(const char *name)
{
	struct sockaddr_ll device = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&device, sizeof(device)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)))
		perror(name), exit(1);
	return fd;
}

static int open_peer(const char *address, const char *port, const char *source)
{
	struct sockaddr_in to = { .sin_family = AF_INET }, from = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, address, &to.sin_addr);
	to.sin_port = htons((uint16_t)atoi(port));
	inet_pton(AF_INET, source, &from.sin_addr);
	if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		perror(address), exit(1);
	return fd;
}

int main(int argc, char **argv)
{
	int is_train = argc == 6 && !strcmp(argv[1], "trains"), fd;
	const struct timespec pause = { .tv_nsec = 2000000 };
	FILE *file;
	uint32_t len;

	if (!is_train && (argc != 4 || strcmp(argv[1], "frames")))
		return 2;
	fd = is_train ? open_peer(argv[3], argv[4], argv[5]) : open_device(argv[3]);
	file = fopen(argv[2], "r");
	if (!file)
		return perror(argv[2]), 1;
	for (int i = 0; fread(&len, sizeof(len), 1, file) == 1; i++) {
		uint32_t size = 0;

		if (len > sizeof(bytes) || (is_train && fread(&size, sizeof(size), 1, file) != 1) ||
		    fread(bytes, 1, len, file) != len)
			return fprintf(stderr, "record %d is truncated\n", i), 1;
		if ((is_train && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &(int){ (int)size }, sizeof(int))) ||
		    send(fd, bytes, len, 0) < 0)
			printf("%d\n", i);
		if (i % BURST == BURST - 1)
			nanosleep(&pause, NULL);
	}
	return 0;
}
