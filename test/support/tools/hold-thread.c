/* SPDX-License-Identifier: MIT
 *
 * Stops the data-plane thread of a vtepd, and that thread alone (ptrace(2): a signal would stop all of them); at
 * SIGTERM lets it go on. The thread is the one that waits in epoll with room for WAIT_CAP events: that of `--io batch`.
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

#define WAIT_CAP 0x100 /* of shim.h; libuv has room for 1024 */

/* System calls are told as: number, arguments in hexadecimal, ... */
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

static volatile sig_atomic_t is_over;

static void end(int number)
{
	(void)number;
	is_over = 1;
}

int main(int argc, char **argv)
{
	int tid = argc == 2 ? find_thread(atoi(argv[1])) : 0;
	int status;

	signal(SIGTERM, end);
	if (!tid) {
		fputs("no such thread\n", stderr);
		return 1;
	}
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0) || waitpid(tid, &status, __WALL) != tid) {
		perror("ptrace");
		return 1;
	}
	puts("held");
	fflush(stdout);
	for (; !is_over; usleep(20000))
		/* A thread that is killed is not gone before its tracer has heard of it. */
		if (waitpid(tid, &status, __WALL | WNOHANG) == tid && (WIFEXITED(status) || WIFSIGNALED(status)))
			return 0;
	ptrace(PTRACE_DETACH, tid, 0, 0);
	return 0;
}
