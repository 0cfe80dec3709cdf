/* SPDX-License-Identifier: MIT
 *
 * Outer TAP for tunnelled superframes, and the program that redirects them to the underlay.
 *
 * tunnel.c sends through the TAP. The program performs a route lookup per superframe (cheap beside
 * the copy of 64 KB), so route changes take effect at once. The program reads only the two
 * addresses of the IP packet. It changes nothing but the mark of the packet, by which the kernel
 * also chooses the neighbour (bpf_redirect_neigh() makes a lookup of its own).
 *
 * Requires Linux 6.17 for the device, 6.6 for the program (6.10 with a mark).
 */
#include "tunnel.h"

#include "bpf.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <asm/byteorder.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <netinet/in.h>

/*
 * Defined by if_tun.h since Linux 6.17:
 * CSUM, TSO4, TSO6, USO4, USO6, UDP_TUNNEL_GSO, UDP_TUNNEL_GSO_CSUM
 */
#define TUNNEL_OFFLOADS 0x1e7

/* Defined by bpf.h since Linux 6.3, 6.10 and 5.10 */
#define FIB_LOOKUP_SKIP_NEIGH 8
#define FIB_LOOKUP_MARK 32
#define FIB_MARK_OFF 52 /* of the mark in struct bpf_fib_lookup, where older headers have smac */
#define FUNC_skb_load_bytes 26
#define FUNC_fib_lookup 69
#define FUNC_redirect_neigh 152

#define VERDICT_DROP 2

/* Offsets of IP header fields from the start of the Ethernet header */
#define IPV4_SOURCE (ETH_HLEN + 12)
#define IPV4_DESTINATION (ETH_HLEN + 16)

/**
 * tunnel_open() - open a TAP device for tunnelled superframes
 * @name:	1 … 15 bytes, used literally
 *
 * #syscalls openat ioctl close
 * Return: fd; -EINVAL unsupported by this kernel, or an invalid name; else as tap_open().
 */
int tunnel_open(const char *name)
{
	int fd = tap_open(name, 0);
	int header_len = sizeof(struct tunnel_vnet);
	int err;

	if (fd < 0)
		return fd;
	if (!ioctl(fd, TUNSETVNETHDRSZ, &header_len) && !ioctl(fd, TUNSETOFFLOAD, (unsigned long)TUNNEL_OFFLOADS))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

#define INSN(opcode, dst, src, offset, value) \
	{ .code = (opcode), .dst_reg = (dst), .src_reg = (src), .off = (offset), .imm = (int32_t)(value) }
#define SET(dst, value) INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value)
#define COPY(dst, src) INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define ADD(dst, value) INSN(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, value)
#define LOAD(dst, src, offset) INSN(BPF_LDX | BPF_MEM | BPF_W, dst, src, offset, 0)
#define STORE(size, dst, offset, value) INSN(BPF_ST | BPF_MEM | (size), dst, 0, offset, value)
#define STORE_X(dst, src, offset) INSN(BPF_STX | BPF_MEM | BPF_W, dst, src, offset, 0)
#define CALL(function) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define SKIP_IF(test, dst, value, count) INSN(BPF_JMP | (test) | BPF_K, dst, 0, count, value)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* The lookup parameters are on the stack: struct bpf_fib_lookup, 64 bytes. */
#define QUESTION (-64)
#define ASK(field) (QUESTION + (int16_t)offsetof(struct bpf_fib_lookup, field))

/* Six instructions: copy bytes of the frame into the lookup parameters. */
#define ASK_BYTES(field, frame_off, len)                                                          \
	COPY(BPF_REG_1, BPF_REG_6), SET(BPF_REG_2, frame_off), COPY(BPF_REG_3, BPF_REG_10), \
		ADD(BPF_REG_3, ASK(field)), SET(BPF_REG_4, len), CALL(FUNC_skb_load_bytes)

/**
 * tunnel_attach() - redirect the IPv4 packets of a device by their routes; drop its other frames
 * @ifindex:	device opened by tunnel_open(). IPv4 forwarding must be enabled on it; otherwise the
 *		program drops all packets
 * @mark:	mark of the packets and of the lookups of their routes; 0: none
 *
 * In the program, R6 is the frame. The program looks up the route of the frame and redirects the
 * frame to the device of that route. It drops every packet that is not untagged IPv4, because any
 * other packet has no IPv4 addresses at these offsets.
 *
 * #syscalls bpf close
 * Return: fd that keeps the program attached until closed; -EINVAL before Linux 6.6, with a mark
 * before 6.10; -EPERM without CAP_BPF and CAP_NET_ADMIN.
 */
int tunnel_attach(int ifindex, uint32_t mark)
{
	const struct bpf_insn by_route[] = {
		COPY(BPF_REG_6, BPF_REG_1),
		LOAD(BPF_REG_2, BPF_REG_6, offsetof(struct __sk_buff, protocol)),
		SKIP_IF(BPF_JNE, BPF_REG_2, __constant_htons(ETH_P_IP), 2),
		LOAD(BPF_REG_2, BPF_REG_6, offsetof(struct __sk_buff, vlan_present)),
		SKIP_IF(BPF_JEQ, BPF_REG_2, 0, 2),
		SET(BPF_REG_0, VERDICT_DROP),
		EXIT,
		STORE(BPF_DW, BPF_REG_10, QUESTION, 0),
		STORE(BPF_DW, BPF_REG_10, QUESTION + 8, 0),
		STORE(BPF_DW, BPF_REG_10, QUESTION + 16, 0),
		STORE(BPF_DW, BPF_REG_10, QUESTION + 24, 0),
		STORE(BPF_DW, BPF_REG_10, QUESTION + 32, 0),
		STORE(BPF_DW, BPF_REG_10, QUESTION + 40, 0),
		STORE(BPF_DW, BPF_REG_10, QUESTION + 48, 0),
		STORE(BPF_DW, BPF_REG_10, QUESTION + 56, 0),
		STORE(BPF_W, BPF_REG_10, QUESTION + FIB_MARK_OFF, mark),
		STORE(BPF_B, BPF_REG_10, ASK(family), AF_INET),
		STORE(BPF_B, BPF_REG_10, ASK(l4_protocol), IPPROTO_UDP),
		LOAD(BPF_REG_2, BPF_REG_6, offsetof(struct __sk_buff, ifindex)),
		STORE_X(BPF_REG_10, BPF_REG_2, ASK(ifindex)),
		ASK_BYTES(ipv4_src, IPV4_SOURCE, 4),
		ASK_BYTES(ipv4_dst, IPV4_DESTINATION, 4),
		COPY(BPF_REG_1, BPF_REG_6),
		COPY(BPF_REG_2, BPF_REG_10),
		ADD(BPF_REG_2, QUESTION),
		SET(BPF_REG_3, sizeof(struct bpf_fib_lookup)),
		SET(BPF_REG_4, FIB_LOOKUP_SKIP_NEIGH | (mark ? FIB_LOOKUP_MARK : 0)),
		CALL(FUNC_fib_lookup),
		SKIP_IF(BPF_JEQ, BPF_REG_0, 0, 2),
		SET(BPF_REG_0, VERDICT_DROP),
		EXIT,
		SET(BPF_REG_2, mark),
		STORE_X(BPF_REG_6, BPF_REG_2, offsetof(struct __sk_buff, mark)),
		LOAD(BPF_REG_1, BPF_REG_10, ASK(ifindex)),
		SET(BPF_REG_2, 0),
		SET(BPF_REG_3, 0),
		SET(BPF_REG_4, 0),
		CALL(FUNC_redirect_neigh),
		EXIT,
	};
	int program = bpf_load(BPF_PROG_TYPE_SCHED_CLS, by_route, sizeof(by_route)), fd;

	if (program < 0)
		return program;
	fd = bpf_attach(program, ifindex, TCX_INGRESS);
	close(program);
	return fd;
}
