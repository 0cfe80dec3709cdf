/* SPDX-License-Identifier: MIT
 *
 * Receiver of sd_notify(3) messages: prints each datagram of a unix socket as one line.
 *
 * The lines of a message are separated by blanks.
 *
 *	notify-receive PATH
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char message[4096];

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	strcpy(address.sun_path, argv[1]);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || chmod(argv[1], 0666)) {
		perror(argv[1]);
		return 1;
	}
	puts("listening");
	fflush(stdout);
	for (;;) {
		ssize_t len = recv(fd, message, sizeof(message) - 1, 0);

		if (len < 0)
			return 1;
		message[len] = '\0';
		for (char *end = strchr(message, '\n'); end; end = strchr(end, '\n'))
			*end = ' ';
		puts(message);
		fflush(stdout);
	}
}
