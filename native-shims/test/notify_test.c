/* SPDX-License-Identifier: MIT
 *
 * Messages at a service manager's socket, by path and by abstract name, and invalid addresses.
 */
#include "check.h"
#include "../shim.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char got[512];

static int listen_at(const char *name, socklen_t len)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(address.sun_path, name, len);
	REQUIRE(fd >= 0);
	REQUIRE(bind(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + len) == 0);
	return fd;
}

/* Returns the length of the waiting message, with its text in `got`; -1 if there is none. */
static ssize_t take(int fd)
{
	ssize_t len = recv(fd, got, sizeof(got) - 1, 0);

	got[len < 0 ? 0 : len] = '\0';
	return len;
}

static void check_arrives(int fd, const char *name)
{
	CHECK_EQ(notify_send(name, "READY=1\nSTATUS=all is well"), 0);
	CHECK_EQ(take(fd), 26);
	CHECK(strcmp(got, "READY=1\nSTATUS=all is well") == 0);
	CHECK_EQ(take(fd), -1);
}

static void test_path(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/tmp/vtepd-notify-%d", getpid());
	unlink(path);
	CHECK_EQ(notify_send(path, "READY=1"), -ENOENT);
	fd = listen_at(path, (socklen_t)strlen(path) + 1);
	check_arrives(fd, path);
	close(fd);
	CHECK_EQ(notify_send(path, "READY=1"), -ECONNREFUSED);
	unlink(path);
}

/* An abstract name has no final zero byte; with one it would be a different name. */
static void test_abstract(void)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "@vtepd-notify-%d", getpid());
	CHECK_EQ(notify_send(name, "READY=1"), -ECONNREFUSED);
	name[0] = '\0';
	fd = listen_at(name, (socklen_t)strlen(name + 1) + 1);
	name[0] = '@';
	check_arrives(fd, name);
	close(fd);
}

/* The call returns even if the manager does not read. */
static void test_full(void)
{
	char name[64] = "@vtepd-notify-full-";
	int sent = 0, err, fd;

	snprintf(name + strlen(name), 16, "%d", getpid());
	name[0] = '\0';
	fd = listen_at(name, (socklen_t)strlen(name + 1) + 1);
	name[0] = '@';
	while ((err = notify_send(name, "WATCHDOG=1")) == 0 && sent < 100000)
		sent++;
	CHECK_EQ(err, -EAGAIN);
	CHECK(sent > 0);
	close(fd);
}

static void test_refused(void)
{
	char longest[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];

	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	CHECK_EQ(notify_send(longest, "READY=1"), -ENAMETOOLONG);
	longest[sizeof(longest) - 2] = '\0';
	CHECK_EQ(notify_send(longest, "READY=1"), -ENOENT);
	CHECK_EQ(notify_send("", "READY=1"), -EINVAL);
	CHECK_EQ(notify_send("@", "READY=1"), -EINVAL);
	CHECK_EQ(notify_send("vsock:2:1234", "READY=1"), -EAFNOSUPPORT);
	CHECK_EQ(notify_send("relative", "READY=1"), -EAFNOSUPPORT);
}

int main(void)
{
	test_path();
	test_abstract();
	test_full();
	test_refused();
	return check_report();
}
