/*
 * Sends a raw Ethernet frame COUNT times: raw-frame DEVICE COUNT HEX.
 *
 * HEX is the frame in hexadecimal, from the Ethernet header on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_packet.h>
#include <net/if.h>

int main(int argc, char **argv)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = 6 };
	unsigned char frame[2048];
	size_t len = 0;
	int fd, count;

	if (argc != 4)
		return 2;
	for (const char *at = argv[3]; at[0] && at[1] && len < sizeof(frame); at += 2) {
		unsigned int byte;

		if (sscanf(at, "%2x", &byte) != 1)
			return 2;
		frame[len++] = (unsigned char)byte;
	}
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0 || !to.sll_ifindex)
		return 1;
	memcpy(to.sll_addr, frame, 6);
	for (count = atoi(argv[2]); count > 0; count--)
		if (sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)len) {
			perror("sendto");
			return 1;
		}
	return 0;
}
