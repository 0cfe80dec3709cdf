/* SPDX-License-Identifier: MIT
 *
 * Arguments, errors, time and commands of the benchmark's C tools.
 *
 * A tool defines TOOL, its name, before it includes this file, and `commands`.
 */
#ifndef BENCH_TOOL_H
#define BENCH_TOOL_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/**
 * struct command - A command of the tool
 * @name:	First argument
 * @args:	Number of further arguments
 * @usage:	Names of the further arguments
 * @run:	Function that receives the further arguments
 */
struct command {
	const char *name;
	int args;
	const char *usage;
	void (*run)(char **argv);
};
/* The last element has no name. */
extern const struct command commands[];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, TOOL ": %s: %s\n", what, strerror(errno));
	exit(1);
}

static _Noreturn void usage(const char *why)
{
	fprintf(stderr, TOOL ": %s; usage:\n", why);
	for (const struct command *one = commands; one->name; one++)
		fprintf(stderr, "  %s %s\n", one->name, one->usage);
	exit(2);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/**
 * number() - Parse an argument
 * @text:	Decimal digits
 * @min:	Smallest allowed value
 * @max:	Largest allowed value
 *
 * Return: the value; exits when the text is not a number in this range
 */
static long number(const char *text, long min, long max)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value < min || value > max)
		usage(text);
	return value;
}

static struct sockaddr_in parse_address(const char *text, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)number(port, 1, 65535)) };

	if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
		usage(text);
	return a;
}

/** run_command() - Run the command that the arguments name; exits when there is none */
static int run_command(int argc, char **argv)
{
	for (const struct command *one = commands; argc > 1 && one->name; one++) {
		if (strcmp(argv[1], one->name) != 0)
			continue;
		if (argc - 2 != one->args)
			usage("wrong number of arguments");
		one->run(argv + 2);
		return 0;
	}
	usage("unknown command");
}

#endif
