/* SPDX-License-Identifier: MIT
 *
 * Stops only the data-plane thread of a vtepd; on SIGTERM lets it continue.
 *
 * It uses ptrace(2) because a signal would stop all threads. It recognises the data-plane thread of
 * `--io batch` by its wait in epoll(7) with room for WAIT_CAP events.
 *
 *	hold-thread PID
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_CAP 0x100 /* as in shim.h; libuv has room for 1024 */

/* Format of /proc/PID/task/TID/syscall: number, arguments in hexadecimal, ... */
static int waits_in_shim(int pid, int tid)
{
	unsigned long number, wait_fd, events, room = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fscanf(file, "%lu %lx %lx %lx", &number, &wait_fd, &events, &room) != 4)
		room = 0;
	fclose(file);
	return room == WAIT_CAP;
}

static int find_thread(int pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	for (int attempt = 0; attempt < 1000; attempt++, usleep(1000)) {
		DIR *tasks = opendir(path);
		struct dirent *task;
		int found = 0;

		if (!tasks)
			return 0;
		while (!found && (task = readdir(tasks)))
			if (waits_in_shim(pid, atoi(task->d_name)))
				found = atoi(task->d_name);
		closedir(tasks);
		if (found)
			return found;
	}
	return 0;
}

static volatile sig_atomic_t is_ended;

static void end(int number)
{
	(void)number;
	is_ended = 1;
}

int main(int argc, char **argv)
{
	int tid = argc == 2 ? find_thread(atoi(argv[1])) : 0;
	int status;

	signal(SIGTERM, end);
	if (!tid) {
		fputs("no data-plane thread found\n", stderr);
		return 1;
	}
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0) || waitpid(tid, &status, __WALL) != tid) {
		perror("ptrace");
		return 1;
	}
	puts("thread stopped");
	fflush(stdout);
	for (; !is_ended; usleep(20000))
		/* A killed thread remains until its tracer has waited for it. */
		if (waitpid(tid, &status, __WALL | WNOHANG) == tid && (WIFEXITED(status) || WIFSIGNALED(status)))
			return 0;
	ptrace(PTRACE_DETACH, tid, 0, 0);
	return 0;
}
