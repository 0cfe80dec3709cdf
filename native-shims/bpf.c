/* SPDX-License-Identifier: MIT
 *
 * Minimal bpf(2) wrapper; see bpf.h. Not performance-critical: used at set-up only.
 */
#include "bpf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINK_CREATE 28
#define QUERY_EFFECTIVE 1

/* The fields of BPF_LINK_CREATE that are used here; union bpf_attr of Debian 12 is older. */
struct link_create {
	uint32_t prog_fd;
	uint32_t target_ifindex;
	uint32_t attach_type;
	uint32_t flags;
	uint64_t relative_fd;
	uint64_t expected_revision;
	uint64_t padding[4];
};

static int call_bpf(int command, void *attr, size_t size)
{
	long fd = syscall(__NR_bpf, command, attr, size);

	return fd < 0 ? -errno : (int)fd;
}

/**
 * bpf_load() - load a program into the kernel
 * @size:	bytes of all instructions
 *
 * #syscalls bpf
 * Return: fd; -EPERM without CAP_BPF; -EINVAL, -EACCES when the kernel rejects the program.
 */
int bpf_load(enum bpf_prog_type type, const void *instructions, size_t size)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = type;
	attr.insns = (uintptr_t)instructions;
	attr.insn_cnt = (uint32_t)(size / sizeof(struct bpf_insn));
	attr.license = (uintptr_t) "Dual MIT/GPL";
	return call_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

/**
 * bpf_attach() - attach a tcx program to a device, in front of all others
 * @where:	TCX_INGRESS or TCX_EGRESS
 *
 * #syscalls bpf
 * Return: fd that keeps the program attached until closed; -EINVAL before Linux 6.6; -EPERM.
 */
int bpf_attach(int program, int ifindex, uint32_t where)
{
	struct link_create attr = {
		.prog_fd = (uint32_t)program, .target_ifindex = (uint32_t)ifindex, .attach_type = where
	};

	return call_bpf(LINK_CREATE, &attr, sizeof(attr));
}

/**
 * bpf_map() - create a map: empty, or zeroed if it is an array
 *
 * #syscalls bpf
 * Return: fd or negative errno.
 */
int bpf_map(enum bpf_map_type type, uint32_t key_size, uint32_t value_size, uint32_t entries)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = type;
	attr.key_size = key_size;
	attr.value_size = value_size;
	attr.max_entries = entries;
	return call_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

/**
 * cgroup_programs() - count the programs that run for sockets of a control group
 * @path:	folder of the control group, of version 2 (cgroups(7))
 * @type:	kind of program, such as BPF_CGROUP_INET_EGRESS
 *
 * Programs of its ancestors are included (BPF_F_QUERY_EFFECTIVE).
 *
 * #syscalls openat bpf close
 * Return: the count; -ENOENT no such folder; -EBADF no control group of version 2; -EPERM without
 * CAP_NET_ADMIN; -EINVAL an unknown kind; else a negative errno.
 */
int cgroup_programs(const char *path, int type)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	union bpf_attr attr;
	int err;

	if (fd < 0)
		return -errno;
	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = (uint32_t)fd;
	attr.query.attach_type = (uint32_t)type;
	attr.query.query_flags = QUERY_EFFECTIVE;
	err = call_bpf(BPF_PROG_QUERY, &attr, sizeof(attr));
	close(fd);
	return err < 0 ? err : (int)attr.query.prog_cnt;
}
