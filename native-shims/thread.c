/* SPDX-License-Identifier: MIT
 *
 * How the calling thread is scheduled. The data plane works in short pieces and has to be awake soon after a
 * frame has come; whoever shares its core usually computes for longer. Linux lets a thread ask for shorter slices
 * of the processor without asking for more of it (sched_setattr(2), sched_runtime of SCHED_OTHER, Linux 6.12): it
 * then gets its turn earlier, and for that it can be interrupted earlier.
 */
#include "shim.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sched.h>

/* struct sched_attr of linux/sched/types.h, first version; that header clashes with sched.h here. */
struct thread_attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime;
	uint64_t deadline;
	uint64_t period;
};

/**
 * thread_set_slice() - ask for slices of this length for the calling thread
 * @us:		microseconds, 100 … 100,000; Linux takes what lies outside for the next that is allowed
 *
 * A thread of another policy than SCHED_OTHER is left as somebody set it.
 *
 * #syscalls sched_getattr sched_setattr
 * Return: 0; else a negative errno. A kernel before 6.12 ignores it and answers 0.
 */
int thread_set_slice(int us)
{
	struct thread_attr attr;

	memset(&attr, 0, sizeof(attr));
	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0))
		return -errno;
	if (attr.policy != SCHED_OTHER)
		return 0;
	attr.flags = 0;
	attr.runtime = (uint64_t)us * 1000;
	return syscall(SYS_sched_setattr, 0, &attr, 0) ? -errno : 0;
}
