/* SPDX-License-Identifier: MIT
 *
 * Checks that are counted, and the exit code of a test program.
 *
 * A failed check prints its location and condition, and the test continues. main() ends with
 * `return check_report()`; the exit codes are 0 passed, 1 failed, 77 skipped, as `run` expects.
 */
#ifndef VTEPD_CHECK_H
#define VTEPD_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_SKIPPED 77

/* Maximum failures printed; further failures are only counted. */
#define CHECK_SHOWN 20

static int check_count, check_failures;

/* Returns true if the condition held. */
static inline int check_at(const char *file, int line, int held, const char *what)
{
	check_count++;
	if (!held && check_failures++ < CHECK_SHOWN)
		printf("# %s:%d: %s\n", file, line, what);
	return held;
}

static inline int check_equal_at(const char *file, int line, long long found, long long wanted, const char *what)
{
	char message[256];

	snprintf(message, sizeof(message), "%s is %lld, expected %lld", what, found, wanted);
	return check_at(file, line, found == wanted, message);
}

#define CHECK(condition) check_at(__FILE__, __LINE__, (condition) != 0, #condition)
#define CHECK_EQ(found, wanted) check_equal_at(__FILE__, __LINE__, (found), (wanted), #found)

/* Ends the program unless the condition holds: for preconditions of the checks that follow. */
#define REQUIRE(condition)                                                     \
	do {                                                                     \
		if (!CHECK(condition)) {                                           \
			printf("# aborted: required condition failed\n");                     \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

#define SKIP(reason)                        \
	do {                                  \
		printf("skip: %s\n", reason); \
		exit(EXIT_SKIPPED);           \
	} while (0)

static inline int check_report(void)
{
	printf("%d checks, %d failed\n", check_count, check_failures);
	return check_failures ? 1 : 0;
}

#endif
