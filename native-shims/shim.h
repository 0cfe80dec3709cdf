/* SPDX-License-Identifier: MIT
 *
 * The ABI between vtepd's TypeScript and its C shim. See README.md beside this file.
 *
 * Memory is allocated by JavaScript and passed in with each call; C keeps no pointer to it
 * afterwards. Every function answers a count or 0, or a negative errno. Nothing here blocks but
 * wait_for(). No function keeps state between calls but what the kernel keeps behind an fd.
 */
#ifndef VTEPD_SHIM_H
#define VTEPD_SHIM_H

#include <stddef.h>
#include <stdint.h>

#define SHIM_ABI_VERSION 1

/* Descriptors a batch holds. sendmmsg and recvmmsg take up to 1024; more than 128 gained nothing. */
#define BATCH_CAP 128

/* Source-port sockets a family; the index is a flow hash modulo this. A power of two. */
#define SOURCE_SOCKETS 64

/* flags column */
#define FRAME_NEEDS_CSUM 1 /* the L4 checksum holds the pseudo-header sum; the kernel finishes it */

/* gso_type column: values of virtio_net_hdr */
#define FRAME_GSO_NONE 0
#define FRAME_GSO_TCPV4 1
#define FRAME_GSO_TCPV6 4
#define FRAME_GSO_UDP_L4 5

/**
 * struct batch - descriptor columns; entry i of each describes one frame or datagram
 * @off:		first byte, as an offset into the arena
 * @len:		bytes from there. A frame: Ethernet header and payload. A datagram: UDP payload
 * @vni_idx:		row of the VNI table, or -1 while unknown
 * @peer_idx:		row of the peer table, or -1 while unknown
 * @src_port_idx:	which socket of the source-port pool sends it, 0 … SOURCE_SOCKETS - 1
 * @tos:		outer TOS (reserved for the MTU work, 0)
 * @ttl:		outer TTL (reserved, 0 = the socket's)
 * @df:			outer DF (reserved, 0 = the socket's)
 * @gso_type:		FRAME_GSO_*
 * @gso_size:		payload bytes a segment; of a received train, bytes a datagram; 0: a single one
 * @csum_start:		where the kernel starts summing, from @off; with FRAME_NEEDS_CSUM
 * @csum_off:		where it stores the sum, from @csum_start
 * @flags:		FRAME_*
 * @seg_count:		frames on the wire this descriptor stands for, at least 1
 * @verdict:		TypeScript's: 0, or why not to send or write it; C skips entries that are not 0
 * @status:		C's answer: 0, or the negative errno of this entry
 */
struct batch {
	int32_t off[BATCH_CAP];
	int32_t len[BATCH_CAP];
	int32_t vni_idx[BATCH_CAP];
	int32_t peer_idx[BATCH_CAP];
	int32_t src_port_idx[BATCH_CAP];
	int32_t tos[BATCH_CAP];
	int32_t ttl[BATCH_CAP];
	int32_t df[BATCH_CAP];
	int32_t gso_type[BATCH_CAP];
	int32_t gso_size[BATCH_CAP];
	int32_t csum_start[BATCH_CAP];
	int32_t csum_off[BATCH_CAP];
	int32_t flags[BATCH_CAP];
	int32_t seg_count[BATCH_CAP];
	int32_t verdict[BATCH_CAP];
	int32_t status[BATCH_CAP];
};

/**
 * struct peer_row - one packed address: a remote VTEP of a VNI, or where a datagram came from
 * @family:	AF_INET, AF_INET6, or 0: an empty row
 * @port:	UDP port, host byte order
 * @addr:	network byte order; IPv4 in the first four bytes, the rest 0
 * @scope_id:	interface index of a link-local IPv6 address, else 0
 * @vni_idx:	TypeScript's
 * @flags:	TypeScript's
 */
struct peer_row {
	uint16_t family;
	uint16_t port;
	uint8_t addr[16];
	uint32_t scope_id;
	int32_t vni_idx;
	uint32_t flags;
};

/**
 * struct wait_result - what wait_for() found
 * @now_ms:	CLOCK_MONOTONIC after the wait, ms
 * @waited_ms:	how long the wait took, ms
 * @tokens:	one per ready descriptor, as given to wait_add(); error conditions set bit 30
 */
#define WAIT_CAP 256
#define WAIT_ERROR_BIT 0x40000000
struct wait_result {
	double now_ms;
	double waited_ms;
	int32_t tokens[WAIT_CAP];
};

_Static_assert(sizeof(struct peer_row) == 32, "TypeScript addresses rows as 32 bytes");
_Static_assert(sizeof(struct batch) == 16 * 4 * BATCH_CAP, "columns without padding");

#endif
