/* SPDX-License-Identifier: MIT
 *
 * Offload of known TCP flows to the kernel.
 *
 * The offload consists of three things: the programs of flow.bpf.c; the maps in which user space
 * stores its forwarding decisions; and a private network namespace, in which a kernel vxlan device
 * has its UDP socket. That device adds and removes the outer headers. TypeScript decides which
 * flows are offloaded and for how long (switch/flows/flows.ts), and whether the offload is used at
 * all (flows/flow-offload.ts).
 *
 * The kernel releases each program, each map and the namespace with its devices when the last
 * descriptor of that object is closed.
 */
#include "shim.h"

#include "bpf.h"
#include "flow_program.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Maps of flow.bpf.c, indexed by the numbers that the instructions contain. */
static const struct {
	enum bpf_map_type type;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t entries;
} maps[FLOW_MAPS] = {
	[FLOW_CONFIG] = { BPF_MAP_TYPE_ARRAY, 4, 16, 1 },
	[FLOW_TAPS] = { BPF_MAP_TYPE_HASH, 4, 4, FLOW_VNIS_MAX },
	[FLOW_VNIS] = { BPF_MAP_TYPE_HASH, 4, 4, FLOW_VNIS_MAX },
	[FLOW_ROWS] = { BPF_MAP_TYPE_HASH, FLOW_KEY_SIZE, FLOW_VALUE_SIZE, 2 * FLOW_SLOTS },
	[FLOW_COUNTS] = { BPF_MAP_TYPE_ARRAY, 4, FLOW_VALUE_SIZE, FLOW_SLOTS },
};

static const struct {
	const uint64_t *instructions;
	size_t size;
} programs[FLOW_FDS - FLOW_MAPS] = {
	[FLOW_OUT - FLOW_MAPS] = { flow_out, sizeof(flow_out) },
	[FLOW_IN - FLOW_MAPS] = { flow_in, sizeof(flow_in) },
	[FLOW_ARRIVED - FLOW_MAPS] = { flow_arrived, sizeof(flow_arrived) },
};

/* Loads a program after replacing map numbers by descriptors. */
static int load(size_t program, const int32_t *fds)
{
	size_t size = programs[program].size, count = size / sizeof(struct bpf_insn);
	struct bpf_insn *instructions = malloc(size);
	int fd;

	if (!instructions)
		return -ENOMEM;
	memcpy(instructions, programs[program].instructions, size);
	for (size_t i = 0; i < count; i++)
		if (instructions[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		    instructions[i].src_reg == BPF_PSEUDO_MAP_FD)
			instructions[i].imm = fds[instructions[i].imm];
	fd = bpf_load(BPF_PROG_TYPE_SCHED_CLS, instructions, size);
	free(instructions);
	return fd;
}

/**
 * flow_open() - create maps and programs without attaching them
 * @fds:	filled: FLOW_MAPS maps, then the programs
 *
 * #syscalls bpf close
 * Return: 0; -EPERM without CAP_BPF and CAP_NET_ADMIN; another negative errno when the kernel lacks
 * a feature.
 */
int flow_open(int32_t fds[FLOW_FDS])
{
	for (size_t i = 0; i < FLOW_FDS; i++) {
		if (i < FLOW_MAPS)
			fds[i] = bpf_map(maps[i].type, maps[i].key_size, maps[i].value_size, maps[i].entries);
		else
			fds[i] = load(i - FLOW_MAPS, fds);
		if (fds[i] < 0) {
			int err = fds[i];

			while (i-- > 0)
				close(fds[i]);
			return err;
		}
	}
	return 0;
}

/**
 * flow_attach() - attach a program to a device
 * @egress:	1: frames that leave the device; 0: frames that arrive
 *
 * #syscalls bpf
 * Return: as bpf_attach().
 */
int flow_attach(int program, int ifindex, int egress)
{
	return bpf_attach(program, ifindex, egress ? TCX_EGRESS : TCX_INGRESS);
}

static int open_namespace(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/**
 * flow_namespace() - create a network namespace without processes
 *
 * The calling thread enters the new namespace briefly. If the thread cannot return to the original
 * namespace, the process aborts, because the thread would continue in the wrong network.
 *
 * #syscalls openat unshare setns close
 * Return: fd that keeps the namespace; -EPERM without CAP_SYS_ADMIN.
 */
int flow_namespace(void)
{
	int home = open_namespace(), fd;

	if (home < 0)
		return home;
	if (unshare(CLONE_NEWNET)) {
		fd = -errno;
	} else {
		fd = open_namespace();
		if (setns(home, CLONE_NEWNET))
			abort();
	}
	close(home);
	return fd;
}

static int on_map(int command, int fd, const void *key, const void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)value;
	return syscall(__NR_bpf, command, &attr, sizeof(attr)) ? -errno : 0;
}

/**
 * flow_put() - create or replace a map entry
 * @key:	FLOW_KEY_SIZE bytes, of which the kernel reads the map's key size
 * @value:	FLOW_VALUE_SIZE bytes, of which the kernel reads the map's value size
 *
 * #syscalls bpf
 * Return: 0; -E2BIG the map is full; another negative errno.
 */
int flow_put(int map, const uint8_t *key, const uint8_t *value)
{
	return on_map(BPF_MAP_UPDATE_ELEM, map, key, value);
}

/* flow_get() - read an entry into value. Return: 0; -ENOENT no such entry. #syscalls bpf */
int flow_get(int map, const uint8_t *key, uint8_t *value)
{
	return on_map(BPF_MAP_LOOKUP_ELEM, map, key, value);
}

/* flow_delete() - delete an entry. Return: 0; -ENOENT no such entry. #syscalls bpf */
int flow_delete(int map, const uint8_t *key)
{
	return on_map(BPF_MAP_DELETE_ELEM, map, key, NULL);
}

/**
 * flow_clear() - delete all entries of a map
 *
 * #syscalls bpf
 * Return: number of deleted entries, or a negative errno.
 */
int flow_clear(int map)
{
	uint8_t key[FLOW_KEY_SIZE];
	int count = 0;

	/* The count includes entries that another thread deletes at the same time. */
	while (count < 2 * FLOW_SLOTS && !on_map(BPF_MAP_GET_NEXT_KEY, map, NULL, key)) {
		flow_delete(map, key);
		count++;
	}
	return count;
}
