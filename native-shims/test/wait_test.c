/* SPDX-License-Identifier: MIT
 *
 * Waiting: tokens, the error bit, time-outs, and an eventfd fired from another thread.
 */
#include "check.h"
#include "net.h"

#include <pthread.h>
#include <sys/eventfd.h>

static struct wait_result result;

static void test_event(int wait_fd)
{
	int event = event_create();

	CHECK_EQ(wait_add(wait_fd, event, -1, 1), -EINVAL);
	CHECK_EQ(wait_add(wait_fd, event, WAIT_ERROR_BIT, 1), -EINVAL);
	CHECK_EQ(wait_add(wait_fd, -1, 0, 1), -EBADF);
	CHECK_EQ(wait_add(wait_fd, event, WAIT_ERROR_BIT - 1, 1), 0);
	CHECK_EQ(event_fire(event), 0);
	CHECK_EQ(wait_add(wait_fd, event, 1, 0), 0); /* changed: errors alone */
	CHECK_EQ(wait_for(wait_fd, 0, 0, &result), 0);
	CHECK_EQ(wait_add(wait_fd, event, WAIT_ERROR_BIT - 1, 1), 0);
	CHECK_EQ(event_fire(event), 0);
	for (int again = 0; again < 2; again++) { /* level-triggered */
		CHECK_EQ(wait_for(wait_fd, 1000, 0, &result), 1);
		CHECK_EQ(result.tokens[0], WAIT_ERROR_BIT - 1);
	}
	CHECK_EQ(event_clear(event), 0);
	CHECK_EQ(event_clear(event), 0);
	CHECK_EQ(wait_for(wait_fd, 0, 0, &result), 0);
	CHECK_EQ(wait_remove(wait_fd, event), 0);
	CHECK_EQ(wait_remove(wait_fd, event), -ENOENT);
	CHECK_EQ(event_fire(event), 0);
	CHECK_EQ(wait_for(wait_fd, 0, 0, &result), 0);
	close(event);
	CHECK_EQ(event_fire(event), -EBADF);
	CHECK_EQ(event_clear(event), -EBADF);
}

static void test_full_event(void)
{
	uint64_t most = UINT64_MAX - 1;
	int event = event_create();

	REQUIRE(write(event, &most, sizeof(most)) == sizeof(most));
	CHECK_EQ(event_fire(event), 0); /* the counter is at its maximum */
	close(event);
}

static void test_time(int wait_fd)
{
	double before;

	CHECK_EQ(wait_for(wait_fd, 0, 0, &result), 0);
	before = result.now_ms;
	CHECK_EQ(wait_for(wait_fd, 30, 0, &result), 0);
	CHECK(result.waited_ms >= 29 && result.waited_ms < 5000);
	CHECK(result.now_ms >= before + result.waited_ms);
	result.now_ms = 0;
	CHECK_EQ(wait_for(-1, 0, 0, &result), -EBADF);
	CHECK(result.now_ms >= before);
}

/*
 * A descriptor whose other end was closed sets the error bit, whether input was requested or not.
 */
static void test_error_bit(int wait_fd)
{
	for (int readable = 0; readable < 2; readable++) {
		int pair[2];

		REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
		CHECK_EQ(wait_add(wait_fd, pair[0], 9, readable), 0);
		CHECK_EQ(wait_for(wait_fd, 0, 0, &result), 0);
		close(pair[1]);
		CHECK_EQ(wait_for(wait_fd, 1000, 0, &result), 1);
		CHECK_EQ(result.tokens[0], 9 | WAIT_ERROR_BIT);
		close(pair[0]);
	}
}

static void test_errors_only(int wait_fd)
{
	int event = event_create();

	CHECK_EQ(wait_add(wait_fd, event, 3, 0), 0);
	CHECK_EQ(event_fire(event), 0);
	CHECK_EQ(wait_for(wait_fd, 0, 0, &result), 0);
	close(event);
}

/* When more descriptors are ready than a result can list, two waits report all of them. */
static void test_many(void)
{
	enum { EVENTS = WAIT_CAP + 20 };
	static char seen[EVENTS];
	int events[EVENTS], wait_fd = wait_create(), different = 0;

	for (int i = 0; i < EVENTS; i++) {
		events[i] = event_create();
		REQUIRE(events[i] >= 0 && wait_add(wait_fd, events[i], i, 1) == 0 && event_fire(events[i]) == 0);
	}
	for (int round = 0; round < 2; round++) {
		int count = wait_for(wait_fd, 0, 0, &result);

		CHECK_EQ(count, WAIT_CAP);
		for (int k = 0; k < count; k++) {
			different += !seen[result.tokens[k]];
			seen[result.tokens[k]] = 1;
		}
	}
	CHECK_EQ(different, EVENTS);
	for (int i = 0; i < EVENTS; i++)
		close(events[i]);
	close(wait_fd);
}

static void *fire_soon(void *event)
{
	usleep(20000);
	event_fire(*(int *)event);
	return NULL;
}

static void test_wake_from_thread(int wait_fd)
{
	int event = event_create();
	pthread_t thread;

	CHECK_EQ(wait_add(wait_fd, event, 4, 1), 0);
	REQUIRE(pthread_create(&thread, NULL, fire_soon, &event) == 0);
	CHECK_EQ(wait_for(wait_fd, 10000, 0, &result), 1);
	CHECK_EQ(result.tokens[0], 4);
	CHECK(result.waited_ms < 9000);
	pthread_join(thread, NULL);
	close(event);
}

/* An event is reported while busy-polling as well as after sleeping. */
static void test_spin(int wait_fd)
{
	int event = event_create();
	pthread_t thread;

	CHECK_EQ(wait_add(wait_fd, event, 5, 1), 0);
	CHECK_EQ(wait_for(wait_fd, 20, WAIT_SPIN_MAX, &result), 0);
	CHECK(result.waited_ms >= 20 && result.waited_ms < 5000);
	REQUIRE(pthread_create(&thread, NULL, fire_soon, &event) == 0);
	CHECK_EQ(wait_for(wait_fd, 10000, WAIT_SPIN_MAX, &result), 1);
	CHECK_EQ(result.tokens[0], 5);
	pthread_join(thread, NULL);
	CHECK_EQ(wait_for(wait_fd, 10000, WAIT_SPIN_MAX, &result), 1);
	CHECK(result.waited_ms < 9000);
	CHECK_EQ(wait_for(-1, 1000, WAIT_SPIN_MAX, &result), -EBADF);
	close(event);
	CHECK_EQ(wait_for(wait_fd, 0, WAIT_SPIN_MAX, &result), 0);
}

int main(void)
{
	int wait_fd = wait_create();

	REQUIRE(wait_fd >= 0);
	test_event(wait_fd);
	test_full_event();
	test_time(wait_fd);
	test_error_bit(wait_fd);
	test_errors_only(wait_fd);
	test_many();
	test_wake_from_thread(wait_fd);
	test_spin(wait_fd);
	close(wait_fd);
	return check_report();
}
