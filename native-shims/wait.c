/* SPDX-License-Identifier: MIT
 *
 * Waiting: epoll over TAPs, sockets and a wake-up eventfd.
 *
 * Level-triggered: a round may leave work behind and finds it again in the next. Each descriptor has
 * a token that comes back instead of the fd, so that JavaScript needs no table to know what is ready.
 *
 * wait_for() is the one function of the shim that blocks. While it does, its thread runs no JavaScript
 * and no termination of the thread gets through: keep the timeout short, and fire the eventfd to end it.
 */
#include "shim.h"

#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/**
 * wait_create() - a set to wait on
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
 * wait_add() - add a descriptor
 * @token:	what wait_for() reports for it, 0 … WAIT_ERROR_BIT - 1
 * @readable:	report input and errors; 0: errors only
 *
 * #syscalls epoll_ctl
 * Return: 0; -EINVAL token out of range; -EEXIST already in; else as epoll_ctl(2).
 */
int wait_add(int wait_fd, int fd, int32_t token, int readable)
{
	struct epoll_event event = { .events = readable ? EPOLLIN : 0 };

	if (token < 0 || token >= WAIT_ERROR_BIT)
		return -EINVAL;
	event.data.u32 = (uint32_t)token;
	return epoll_ctl(wait_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/**
 * wait_remove() - take a descriptor out again; needed before it is closed if it has duplicates
 *
 * #syscalls epoll_ctl
 * Return: 0; -ENOENT it is not in.
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

/* Looks for spin_us microseconds at most, and lets others run between two looks. */
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
 * wait_for() - wait until something is ready, or time is up
 * @timeout_ms:	0 looks without waiting, -1 waits for ever
 * @spin_us:	look again and again for so long before sleeping: what comes then finds a core awake; with timeout 0 nothing of it
 * @result:	filled in, times always
 *
 * A descriptor in error (EPOLLERR, EPOLLHUP) has WAIT_ERROR_BIT in its token, readable or not. The
 * report repeats until the cause is gone: udp_drain_errors(), or wait_remove() for a dead device.
 *
 * #syscalls epoll_wait sched_yield
 * Return: tokens, 0 … WAIT_CAP; 0 also when a signal came.
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
 * event_create() - an eventfd, to wake a waiting thread with
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
 * event_fire() - make it readable; from any thread
 *
 * #syscalls write
 * Return: 0, also when it had been fired and not yet cleared.
 */
int event_fire(int fd)
{
	uint64_t one = 1;

	return write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN ? -errno : 0;
}

/**
 * event_clear() - make it unreadable until it is fired again
 *
 * #syscalls read
 * Return: 0, also when it had not been fired.
 */
int event_clear(int fd)
{
	uint64_t fired;

	return read(fd, &fired, sizeof(fired)) < 0 && errno != EAGAIN ? -errno : 0;
}
