/* SPDX-License-Identifier: MIT
 *
 * Sends a file as one train (UDP_SEGMENT, udp(7)): datagrams of SIZE bytes; the last may be
 * shorter.
 *
 *	train FILE SIZE ADDRESS PORT SOURCE
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static char bytes[65536];

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET }, from = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size;
	FILE *file;
	size_t len;

	if (argc != 6)
		return 2;
	file = fopen(argv[1], "r");
	if (!file)
		return perror(argv[1]), 1;
	len = fread(bytes, 1, sizeof(bytes), file);
	size = atoi(argv[2]);
	inet_pton(AF_INET, argv[3], &to.sin_addr);
	to.sin_port = htons(atoi(argv[4]));
	inet_pton(AF_INET, argv[5], &from.sin_addr);
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) ||
	    setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)) ||
	    sendto(fd, bytes, len, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return perror("train"), 1;
	return 0;
}
