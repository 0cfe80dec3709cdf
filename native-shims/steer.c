/* SPDX-License-Identifier: MIT
 *
 * Queue selection for multi-queue TAPs.
 *
 * By default the kernel sends a flow to the queue to which the last answer of that flow was
 * written, and forgets this queue after three seconds without an answer (tun_flow_update,
 * tun_automq_select_queue in drivers/net/tun.c). The first frames of a flow then use another queue
 * than later ones, and a one-way flow changes queues. Two threads read the two queues, so frames
 * overtake each other. The program of this file selects the queue by the frame's headers only, so a
 * flow keeps its queue. With the program, the kernel also needs no hash of the flow at each write.
 *
 * 	frame					hashed fields
 * 	IPv4, IPv6 with TCP, UDP or SCTP	addresses, ports
 * 	other IP, IPv6 options, fragments	addresses
 * 	other frames				MAC addresses
 *
 * The program skips up to two VLAN tags. A frame too short for its headers goes to queue 0: a load
 * beyond the end of a frame ends the program with 0. The kernel uses the low 16 bits of the result
 * modulo the number of queues.
 *
 * Requires Linux 4.16. Loading requires CAP_BPF, unless the system allows unprivileged BPF.
 */
#include "shim.h"

#include "bpf.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <netinet/in.h>

#ifndef TUNSETSTEERINGEBPF
#define TUNSETSTEERINGEBPF _IOR('T', 224, int)
#endif

#define INSN(opcode, dst, src, offset, value) \
	{ .code = (opcode), .dst_reg = (dst), .src_reg = (src), .off = (offset), .imm = (int32_t)(value) }

/*
 * R6 is the frame, as load instructions require; R7 is the hash; R8 is an offset in the frame; R9
 * is the protocol.
 */
#define FRAME BPF_REG_6
#define HASH BPF_REG_7
#define AT BPF_REG_8
#define PROTOCOL BPF_REG_9
#define LOADED BPF_REG_0

/* LOADED = the bytes at AT + displacement, in host order */
#define LOAD(size, displacement) INSN(BPF_LD | BPF_IND | (size), 0, AT, 0, displacement)
#define SET(dst, value) INSN(BPF_ALU | BPF_MOV | BPF_K, dst, 0, 0, value)
#define COPY(dst, src) INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define ALU(operation, dst, value) INSN(BPF_ALU | (operation) | BPF_K, dst, 0, 0, value)
#define ALU_X(operation, dst, src) INSN(BPF_ALU | (operation) | BPF_X, dst, src, 0, 0)
#define SKIP_IF(test, dst, value, count) INSN(BPF_JMP | (test) | BPF_K, dst, 0, count, value)
#define SKIP(count) INSN(BPF_JMP | BPF_JA, 0, 0, count, 0)

/* Three instructions: mix the word at AT + displacement into the hash. */
#define MIX(displacement) \
	LOAD(BPF_W, displacement), ALU_X(BPF_XOR, HASH, LOADED), ALU(BPF_MUL, HASH, 0x9e3779b1)

/* Four instructions: if the type at AT is that of a tag, advance AT to the type after it. */
#define PASS_TAG                                                                               \
	LOAD(BPF_H, 0), SKIP_IF(BPF_JEQ, LOADED, ETH_P_8021Q, 1), SKIP_IF(BPF_JNE, LOADED, ETH_P_8021AD, 1), \
		ALU(BPF_ADD, AT, 4)

/* Displacement of the IP header from the EtherType. */
#define IP 2
#define IPV6_LEN 40
#define FRAGMENT_MASK 0x3fff /* more fragments, or a fragment offset */

/* Jump distances are in instructions. */
static const struct bpf_insn by_headers[] = {
	COPY(FRAME, BPF_REG_1),
	SET(HASH, 0),
	SET(AT, 2 * ETH_ALEN),
	PASS_TAG,
	PASS_TAG,
	LOAD(BPF_H, 0),
	SKIP_IF(BPF_JEQ, LOADED, ETH_P_IP, 12),
	SKIP_IF(BPF_JEQ, LOADED, ETH_P_IPV6, 26),
	/* MAC addresses */
	SET(AT, 0),
	MIX(0),
	MIX(4),
	MIX(8),
	SKIP(48),
	/* IPv4 */
	MIX(IP + 12),
	MIX(IP + 16),
	LOAD(BPF_B, IP + 9),
	COPY(PROTOCOL, LOADED),
	LOAD(BPF_H, IP + 6),
	SKIP_IF(BPF_JSET, LOADED, FRAGMENT_MASK, 38),
	LOAD(BPF_B, IP),
	ALU(BPF_AND, LOADED, 0x0f),
	ALU(BPF_LSH, LOADED, 2),
	ALU_X(BPF_ADD, AT, LOADED),
	SKIP(27),
	/* IPv6 */
	MIX(IP + 8),
	MIX(IP + 12),
	MIX(IP + 16),
	MIX(IP + 20),
	MIX(IP + 24),
	MIX(IP + 28),
	MIX(IP + 32),
	MIX(IP + 36),
	LOAD(BPF_B, IP + 6),
	COPY(PROTOCOL, LOADED),
	ALU(BPF_ADD, AT, IPV6_LEN),
	/* ports; AT is two bytes in front of them */
	SKIP_IF(BPF_JEQ, PROTOCOL, IPPROTO_TCP, 2),
	SKIP_IF(BPF_JEQ, PROTOCOL, IPPROTO_UDP, 1),
	SKIP_IF(BPF_JNE, PROTOCOL, IPPROTO_SCTP, 3),
	MIX(2),
	/* mix every bit of the hash into the low bits */
	COPY(LOADED, HASH),
	ALU(BPF_RSH, LOADED, 15),
	ALU_X(BPF_XOR, HASH, LOADED),
	ALU(BPF_MUL, HASH, 0x85ebca6b),
	COPY(LOADED, HASH),
	ALU(BPF_RSH, LOADED, 16),
	ALU_X(BPF_XOR, LOADED, HASH),
	INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
};

static int set_steering(int fd, int program)
{
	return ioctl(fd, TUNSETSTEERINGEBPF, &program) ? -errno : 0;
}

/**
 * tap_steer() - keep each flow on one queue of a multi-queue device
 * @fd:		any queue of the device
 *
 * The device owns the program afterwards.
 *
 * #syscalls bpf ioctl close
 * Return: 0; -EPERM without CAP_BPF; -EINVAL, -ENOSYS when the kernel lacks this feature.
 */
int tap_steer(int fd)
{
	int program = bpf_load(BPF_PROG_TYPE_SOCKET_FILTER, by_headers, sizeof(by_headers));
	int err;

	if (program < 0)
		return program;
	err = set_steering(fd, program);
	close(program);
	return err;
}

/**
 * tap_unsteer() - return queue selection to the kernel
 *
 * #syscalls ioctl
 * Return: 0 or negative errno.
 */
int tap_unsteer(int fd)
{
	return set_steering(fd, -1);
}
