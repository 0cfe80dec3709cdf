/* SPDX-License-Identifier: MIT
 *
 * Waiting with epoll on TAPs, sockets and a wake-up eventfd.
 *
 * Events are level-triggered: work left over by a round is reported again in the next. Each
 * descriptor has a token that is reported instead of the fd, so JavaScript needs no lookup table.
 *
 * wait_for() is the only function of the shim that blocks. During the wait its thread runs no
 * JavaScript and cannot be terminated. Keep the timeout short, and fire the eventfd to end the
 * wait.
 */
#include "shim.h"

#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/**
 * wait_create() - create a wait set
 *
 * #syscalls epoll_create1
 * Return: fd or negative errno.
 */
int wait_create(void)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/**
 * wait_add() - add a descriptor, or change the one that was added before
 * @token:	value reported by wait_for(), 0 … WAIT_ERROR_BIT - 1
 * @readable:	1: report input and errors; 0: errors only
 *
 * #syscalls epoll_ctl
 * Return: 0; -EINVAL token out of range; else as epoll_ctl(2).
 */
int wait_add(int wait_fd, int fd, int32_t token, int readable)
{
	struct epoll_event event = { .events = readable ? EPOLLIN : 0 };

	if (token < 0 || token >= WAIT_ERROR_BIT)
		return -EINVAL;
	event.data.u32 = (uint32_t)token;
	if (!epoll_ctl(wait_fd, EPOLL_CTL_ADD, fd, &event))
		return 0;
	if (errno != EEXIST)
		return -errno;
	return epoll_ctl(wait_fd, EPOLL_CTL_MOD, fd, &event) ? -errno : 0;
}

/**
 * wait_remove() - remove a descriptor; required before closing a descriptor that has duplicates
 *
 * #syscalls epoll_ctl
 * Return: 0; -ENOENT not in the set.
 */
int wait_remove(int wait_fd, int fd)
{
	return epoll_ctl(wait_fd, EPOLL_CTL_DEL, fd, NULL) ? -errno : 0;
}

static double monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Busy-polls for up to spin_us microseconds, with sched_yield() between polls. */
static int look(int wait_fd, int spin_us, struct epoll_event *events, double begin_ms)
{
	double end_ms = begin_ms + spin_us / 1e3;
	int count = epoll_wait(wait_fd, events, WAIT_CAP, 0);

	while (count == 0 && monotonic_ms() < end_ms) {
		sched_yield();
		count = epoll_wait(wait_fd, events, WAIT_CAP, 0);
	}
	return count;
}

/**
 * wait_for() - wait until a descriptor is ready or the timeout expires
 * @timeout_ms:	0 polls without waiting, -1 waits indefinitely
 * @spin_us:	busy-poll time before sleeping, so that the core is still awake for early events;
 *		ignored with timeout 0
 * @result:	filled; after an error only the times
 *
 * A descriptor in error (EPOLLERR, EPOLLHUP) has WAIT_ERROR_BIT in its token, readable or not. Each
 * wait reports it again until the cause is removed: by udp_read_errors(), or by wait_remove() for a
 * dead device.
 *
 * #syscalls epoll_wait sched_yield
 * Return: tokens, 0 … WAIT_CAP; 0 also after a signal.
 */
int wait_for(int wait_fd, int timeout_ms, int spin_us, struct wait_result *result)
{
	struct epoll_event events[WAIT_CAP];
	double begin_ms = monotonic_ms();
	int count = timeout_ms != 0 && spin_us > 0 ? look(wait_fd, spin_us, events, begin_ms) : 0;
	int err;

	if (count == 0)
		count = epoll_wait(wait_fd, events, WAIT_CAP, timeout_ms);
	err = count < 0 ? -errno : 0;

	result->now_ms = monotonic_ms();
	result->waited_ms = result->now_ms - begin_ms;
	if (err)
		return err == -EINTR ? 0 : err;
	for (int i = 0; i < count; i++) {
		int32_t error_bit = events[i].events & (EPOLLERR | EPOLLHUP) ? WAIT_ERROR_BIT : 0;

		result->tokens[i] = (int32_t)events[i].data.u32 | error_bit;
	}
	return count;
}

/**
 * event_create() - create an eventfd that wakes a waiting thread
 *
 * #syscalls eventfd2
 * Return: fd or negative errno.
 */
int event_create(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/**
 * event_fire() - make an eventfd readable; callable from any thread
 *
 * #syscalls write
 * Return: 0, also when it was already fired.
 */
int event_fire(int fd)
{
	uint64_t one = 1;

	return write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN ? -errno : 0;
}

/**
 * event_clear() - make an eventfd unreadable until it is fired again
 *
 * #syscalls read
 * Return: 0, also when it had not been fired.
 */
int event_clear(int fd)
{
	uint64_t fired;

	return read(fd, &fired, sizeof(fired)) < 0 && errno != EAGAIN ? -errno : 0;
}
