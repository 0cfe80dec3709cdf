/* SPDX-License-Identifier: MIT
 *
 * Scheduling of the calling thread.
 *
 * The data plane works in short bursts and must run soon after a frame arrives; other threads on
 * its core usually run longer. Linux lets a thread request shorter time slices without a larger
 * share of the CPU (sched_setattr(2), sched_runtime of SCHED_OTHER, Linux 6.12): such a thread is
 * scheduled earlier, and in return can be preempted earlier.
 */
#include "shim.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sched.h>

/* struct sched_attr of linux/sched/types.h, first version; that header conflicts with sched.h. */
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
 * thread_set_slice() - request the time slice of the calling thread
 * @us:		microseconds, 100 … 100,000; Linux clamps other values to this range
 *
 * A thread with a policy other than SCHED_OTHER is left unchanged.
 *
 * #syscalls sched_getattr sched_setattr
 * Return: 0; else a negative errno. A kernel before 6.12 ignores the request and returns 0.
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
