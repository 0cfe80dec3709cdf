/* SPDX-License-Identifier: MIT
 *
 * Notifications to the service manager: sd_notify(3) without libsystemd.
 *
 * A notification is one datagram of `NAME=value` lines to the socket named by NOTIFY_SOCKET.
 * TypeScript decides what to send and when.
 */
#include "shim.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Returns the length of the address, or a negative errno. */
static int notify_address(const char *path, struct sockaddr_un *address)
{
	size_t len = strlen(path);

	/*
	 * The address length excludes the final zero byte of an abstract name, and includes that of
	 * a path.
	 */
	if (len < 2 || len >= sizeof(address->sun_path))
		return len < 2 ? -EINVAL : -ENAMETOOLONG;
	if (path[0] != '@' && path[0] != '/')
		return -EAFNOSUPPORT;
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, len);
	if (path[0] == '@')
		address->sun_path[0] = '\0';
	return (int)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/'));
}

/**
 * notify_send() - send a message to the service manager
 * @path:	NOTIFY_SOCKET: a path, or '@' and a name in Linux's abstract namespace
 * @message:	lines of `NAME=value`
 *
 * Does not block. When the manager's queue is full, the caller may retry.
 *
 * #syscalls socket sendto close
 * Return: 0; -EAGAIN queue full; -EAFNOSUPPORT another kind of address, such as vsock:; -EINVAL,
 * -ENAMETOOLONG invalid address; -ENOENT, -ECONNREFUSED no listener; else as sendto(2).
 */
int notify_send(const char *path, const char *message)
{
	struct sockaddr_un address;
	int len = notify_address(path, &address);
	int fd, err;

	if (len < 0)
		return len;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = sendto(fd, message, strlen(message), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address,
		     (socklen_t)len) < 0 ? -errno : 0;
	close(fd);
	return err;
}
