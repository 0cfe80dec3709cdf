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

#define SHIM_ABI_VERSION 5

/* Descriptors a batch holds. sendmmsg and recvmmsg take up to 1024; more than 128 gained nothing. */
#define BATCH_CAP 128

/* Source-port sockets a family; the index is a flow hash modulo this. A power of two. */
#define SOURCE_SOCKETS 64

/* Sockets that udp_send_batch() takes: a pool for each family with DF set, then one for each with DF clear. */
#define SEND_SOCKETS (4 * SOURCE_SOCKETS)

/* df column */
#define DF_SET 0
#define DF_CLEAR 1
#define DF_CLEAR_TOO_BIG 2 /* and larger than the path carries: no part of a train, the kernel fragments it */

/* flags column */
#define FRAME_NEEDS_CSUM 1 /* the L4 checksum holds the pseudo-header sum; the kernel finishes it */

/* gso_type column: values of virtio_net_hdr */
#define FRAME_GSO_NONE 0
#define FRAME_GSO_TCPV4 1
#define FRAME_GSO_TCPV6 4
#define FRAME_GSO_UDP_L4 5
#define FRAME_GSO_ECN 0x80 /* beside a TCP type: CWR may be set */

/* Options of tap_write_batch(), or-ed: segments of one flow are written as one superframe. */
#define MERGE_TCP 1
#define MERGE_UDP 2 /* takes a kernel that knows USO, Linux 6.2 */

/* Bytes of a VXLAN header (RFC 7348 §5), in front of the Ethernet header of whatever is sent. */
#define VXLAN_LEN 8

/**
 * struct batch - descriptor columns; entry i of each describes one frame or datagram
 * @off:		first byte, as an offset into the arena
 * @len:		bytes from there. A frame: Ethernet header and payload. A datagram: UDP payload
 * @vni_idx:		row of the VNI table, or -1 while unknown
 * @peer_idx:		row of the peer table, or -1 while unknown
 * @src_port_idx:	which socket of the source-port pool sends it, 0 … SOURCE_SOCKETS - 1
 * @tos:		outer TOS or traffic class, 0 … 255; of a received train, that of each datagram
 * @df:			outer DF, DF_*
 * @gso_type:		FRAME_GSO_*; a TAP may or FRAME_GSO_ECN to a TCP type
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
 * @flags:	TypeScript's, but for PEER_TUNNEL
 */
#define PEER_TUNNEL 4 /* superframes for it may leave whole (struct tunnel) */
struct peer_row {
	uint16_t family;
	uint16_t port;
	uint8_t addr[16];
	uint32_t scope_id;
	int32_t vni_idx;
	uint32_t flags;
};

/* What kept a datagram from going on as it was: origin of a path error. */
#define PATH_ERROR_LOCAL 1 /* this machine: larger than the device takes */
#define PATH_ERROR_ICMP 2  /* somebody who claims to be on the way; what it quotes is to be checked */

/**
 * struct path_error - a datagram was too large; begins as a peer_row does
 * @family:	AF_INET or AF_INET6
 * @port:	that it was for, host byte order; 0 unknown: a local error over IPv4
 * @addr:	that it was for
 * @scope_id:	of a link-local one
 * @mtu:	largest IP packet that would have passed, bytes, as was said; 0: nothing was (RFC 1191 §5)
 * @origin:	PATH_ERROR_*
 */
struct path_error {
	uint16_t family;
	uint16_t port;
	uint8_t addr[16];
	uint32_t scope_id;
	int32_t mtu;
	int32_t origin;
};

/**
 * struct path_errors - path errors until somebody looks at them
 * @count:	rows in use, each different; when all are, further ones are lost: a path that is too small tells again
 */
#define PATH_ERRORS_CAP 32
struct path_errors {
	struct path_error rows[PATH_ERRORS_CAP];
	int32_t count;
};

/**
 * struct refused_train - what udp_send_batch() tells when the kernel refused a train for being one
 * @error:	-EIO, or -EINVAL that can't be about its size; datagrams of that train went one by one
 * @peer_idx:	row of the peer that it was for
 */
struct refused_train {
	int32_t error;
	int32_t peer_idx;
};

/**
 * struct merge_result - what became of the superframes that tap_write_batch() made; bits are set, never cleared
 * @taken:	MERGE_* of those that the kernel took
 * @refused:	MERGE_* of those that it refused (EINVAL), although it took their segments
 */
struct merge_result {
	int32_t taken;
	int32_t refused;
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

/**
 * struct arena - the memory that frames and datagrams lie in; JavaScript's, borrowed for one call
 * @base:	first byte
 * @len:	bytes
 */
struct arena {
	uint8_t *base;
	size_t len;
};

/* True if [off, off + len) lies in the arena. Written so that no sum can wrap. */
static inline int arena_holds(struct arena arena, int32_t off, int32_t len)
{
	return off >= 0 && len >= 0 && (size_t)off <= arena.len && (size_t)len <= arena.len - (size_t)off;
}

/**
 * struct tap_region - where tap_read_batch() may put frames
 * @off:	first byte, as an offset into the arena
 * @end:	offset behind the last byte
 * @headroom:	bytes kept free in front of each frame
 * @slot_len:	bytes that the largest frame may take
 */
struct tap_region {
	int32_t off;
	int32_t end;
	int32_t headroom;
	int32_t slot_len;
};

/* Options of udp_open(), or-ed. */
#define UDP_OPEN_RECEIVE 1     /* UDP_GRO, TOS reported, IPv6 datagrams without a checksum accepted */
#define UDP_OPEN_RECVERR 2     /* ICMP errors come to the error queue: sockets of the source-port pool */
#define UDP_OPEN_DF 4          /* DF set and path MTU ours to know; else DF clear */
#define UDP_OPEN_NO_CHECKSUM 8 /* send with a UDP checksum of zero */
#define UDP_OPEN_NO_GRO 16     /* with UDP_OPEN_RECEIVE: no trains: a reader that takes one for one datagram */
#define UDP_OPEN_SHARE 32      /* bound as the only one; then others may join, if they ask to */
#define UDP_OPEN_JOIN 64       /* share the port of a socket that was opened with UDP_OPEN_SHARE */
#define UDP_OPEN_TRAINS 128    /* fail where the kernel does not know UDP_SEGMENT */
#define UDP_OPEN_ALL 255

/**
 * struct udp_slots - where udp_receive_batch() puts datagrams, one a slot
 * @stride:	bytes of a slot; the first begins with the arena
 * @count:	slots
 */
struct udp_slots {
	int32_t stride;
	int32_t count;
};

/* Options of a tunnel, or-ed. */
#define TUNNEL_DF 1       /* takes what has DF set; else what has DF clear */
#define TUNNEL_CHECKSUM 2 /* with an outer UDP checksum */

/**
 * struct tunnel - the way on which superframes leave whole, IPv4 (tunnel.c)
 * @fd:		of tunnel_open(); -1: there is none
 * @local:	our address, network byte order
 * @mtu:	bytes of the largest outer IP packet that a segment may become
 * @ttl:	outer TTL
 * @options:	TUNNEL_DF, TUNNEL_CHECKSUM
 * @id:		next IPv4 id; C counts it up
 * @error:	C's: negative errno of a superframe that was refused and then cut up here; 0 none
 * @ports:	UDP source port by src_port_idx: those of the sockets with that DF
 */
struct tunnel {
	int32_t fd;
	uint8_t local[4];
	int32_t mtu;
	int32_t ttl;
	int32_t options;
	int32_t id;
	int32_t error;
	int32_t ports[SOURCE_SOCKETS];
};

/* Bytes of what device_driver() fills, a zero included. */
#define DRIVER_NAME_SIZE 32

/* What tunnel_segmentation() answers, or-ed. */
#define TUNNEL_GSO 1
#define TUNNEL_GSO_CSUM 2

/* What flow_open() fills: descriptors of maps, then of programs. Keys and values have these sizes at most, bytes. */
#define FLOW_CONFIG 0
#define FLOW_TAPS 1
#define FLOW_VNIS 2
#define FLOW_ROWS 3
#define FLOW_COUNTS 4
#define FLOW_MAPS 5
#define FLOW_OUT 5
#define FLOW_IN 6
#define FLOW_ARRIVED 7
#define FLOW_FDS 8
#define FLOW_KEY_SIZE 12
#define FLOW_VALUE_SIZE 32
#define FLOW_SLOTS 4096 /* a row for each way */
#define FLOW_VNIS_MAX 4096

int tap_open(const char *name, int multi_queue);
int tap_steer(int fd);
int tap_unsteer(int fd);
int tap_set_offload(int fd, uint32_t bits);
int tap_read_batch(int fd, struct arena arena, struct batch *batch, int32_t start, int32_t vni_idx,
		   struct tap_region region);
int tap_write_batch(const int32_t *fds, size_t fd_count, struct arena arena, struct batch *batch, int32_t count,
		    int merge, struct merge_result *result);

int udp_open(const struct peer_row *local, const char *device, int options, int receive_len, int send_len, int ttl);
int udp_set_gro(int fd, int on);
int udp_select(int fd, const uint8_t *program, size_t len);
int udp_receive_batch(int fd, struct arena arena, struct batch *batch, struct peer_row *sources, struct udp_slots slots);
int udp_send_batch(const int32_t *fds, const struct peer_row *peers, size_t peer_count, struct arena arena,
		   struct batch *batch, int32_t count, int32_t train_max, struct refused_train *refused,
		   struct tunnel *tunnel, struct path_errors *errors);
int udp_read_errors(int fd, struct path_errors *errors);
int64_t udp_drops(int fd);
int udp_port(int fd);

int tunnel_open(const char *name);
int tunnel_attach(int ifindex);
int tunnel_segmentation(const char *device);

int flow_open(int32_t fds[FLOW_FDS]);
int flow_attach(int program, int ifindex, int egress);
int flow_namespace(void);
int flow_put(int map, const uint8_t *key, const uint8_t *value);
int flow_get(int map, const uint8_t *key, uint8_t *value);
int flow_delete(int map, const uint8_t *key);
int flow_clear(int map);

int network_watch(void);
int policy_watch(void);
int policy_count(void);
int64_t device_tx_dropped(const char *name);
int device_driver(const char *name, uint8_t driver[DRIVER_NAME_SIZE]);
int watch_clear(int fd);

int thread_set_slice(int us);

/* Microseconds that wait_for() looks at most before it sleeps. */
#define WAIT_SPIN_MAX 1000

int notify_send(const char *path, const char *message);

int wait_create(void);
int wait_add(int wait_fd, int fd, int32_t token, int readable);
int wait_remove(int wait_fd, int fd);
int wait_for(int wait_fd, int timeout_ms, int spin_us, struct wait_result *result);
int event_create(void);
int event_fire(int fd);
int event_clear(int fd);

/**
 * struct layout_entry - one number that TypeScript and C have to agree on
 * @name:	`sizeof.batch`, `offsetof.peerRow.scopeId`, `BATCH_CAP` …
 */
struct layout_entry {
	const char *name;
	int32_t value;
};
extern const struct layout_entry shim_layout[];
extern const size_t shim_layout_count;

_Static_assert(sizeof(struct peer_row) == 32, "TypeScript addresses rows as 32 bytes");
_Static_assert(sizeof(struct path_error) == 32, "TypeScript addresses rows as 32 bytes");
_Static_assert(sizeof(struct batch) == 15 * 4 * BATCH_CAP, "columns without padding");

#endif
