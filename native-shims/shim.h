/* SPDX-License-Identifier: MIT
 *
 * ABI between vtepd's TypeScript and its C shim. See README.md in this directory.
 *
 * JavaScript allocates all memory and passes it in with each call; C keeps no pointer to it. Every
 * function returns a count, 0 or a negative errno. Only wait_for() blocks. Between calls, only the
 * kernel keeps state, behind an fd.
 */
#ifndef VTEPD_SHIM_H
#define VTEPD_SHIM_H

#include <stddef.h>
#include <stdint.h>

#define SHIM_ABI_VERSION 6

/* Descriptors in a batch. sendmmsg and recvmmsg allow up to 1024; more than 128 gained nothing. */
#define BATCH_CAP 128

/* Source-port sockets per address family. The index is a flow hash modulo this power of two. */
#define SOURCE_SOCKETS 64

/*
 * Sending sockets of udp_send_batch(): one pool per address family with DF set, then one per family
 * with DF clear.
 */
#define SEND_SOCKETS (4 * SOURCE_SOCKETS)

/* df column */
#define DF_SET 0
#define DF_CLEAR 1
#define DF_CLEAR_TOO_BIG 2 /* exceeds the path MTU: not in a train, as the kernel fragments it */

/* flags column */
#define FRAME_NEEDS_CSUM 1 /* the L4 checksum holds the pseudo-header sum only */

/* gso_type column: values of virtio_net_hdr */
#define FRAME_GSO_NONE 0
#define FRAME_GSO_TCPV4 1
#define FRAME_GSO_TCPV6 4
#define FRAME_GSO_UDP_L4 5
#define FRAME_GSO_ECN 0x80 /* bit added to a TCP type: CWR may be set */

/* Options of tap_write_batch(), bit mask: write segments of one flow as one superframe. */
#define MERGE_TCP 1
#define MERGE_UDP 2 /* requires USO, Linux 6.2 */

/*
 * Bytes of a VXLAN header (RFC 7348 §5), in front of the Ethernet header of each frame to be sent.
 */
#define VXLAN_LEN 8

/**
 * struct batch - descriptor columns; entry i of each describes one frame or datagram
 * @off:		offset of the first byte in the arena
 * @len:		length in bytes: of a frame, Ethernet header and payload; of a datagram, UDP
 *			payload
 * @vni_idx:		row of the VNI table, or -1 while unknown
 * @peer_idx:		row of the peer table, or -1 while unknown
 * @src_port_idx:	sending socket of the source-port pool, 0 … SOURCE_SOCKETS - 1
 * @tos:		outer TOS or traffic class, 0 … 255; in a received train, the same for each
 *			datagram
 * @df:			outer DF, DF_*
 * @gso_type:		FRAME_GSO_*; a TAP may add FRAME_GSO_ECN to a TCP type
 * @gso_size:		payload bytes per segment; in a received train, bytes per datagram; 0: not
 *			segmented
 * @csum_start:		offset from @off where the kernel starts summing, if FRAME_NEEDS_CSUM
 * @csum_off:		offset from @csum_start where the kernel stores the sum
 * @flags:		FRAME_*
 * @seg_count:		frames on the wire that this descriptor represents, at least 1
 * @ifindex:		device by which a received datagram arrived: the device with the IP address, for
 *			example a bridge; 0: unknown
 * @verdict:		set by TypeScript: 0, or the reason not to send or write; C skips entries
 *			whose verdict is not 0
 * @status:		set by C: 0, or the negative errno of this entry
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
	int32_t ifindex[BATCH_CAP];
	int32_t verdict[BATCH_CAP];
	int32_t status[BATCH_CAP];
};

/**
 * struct peer_row - packed address of a remote VTEP of a VNI, or of a datagram's source
 * @family:	AF_INET, AF_INET6, or 0: an empty row
 * @port:	UDP port, host byte order
 * @addr:	network byte order; IPv4 in the first four bytes, the rest 0
 * @scope_id:	interface index of a link-local IPv6 address, else 0
 * @vni_idx:	used by TypeScript only
 * @flags:	used by TypeScript only, except PEER_TUNNEL and PEER_HELD
 */
#define PEER_TUNNEL 4 /* superframes for this peer may be sent whole (struct tunnel) */
#define PEER_HELD 8   /* nothing is sent to this peer: its route leads into the overlay */
struct peer_row {
	uint16_t family;
	uint16_t port;
	uint8_t addr[16];
	uint32_t scope_id;
	int32_t vni_idx;
	uint32_t flags;
};

/* Origin of a path error: the system that refused the datagram. */
#define PATH_ERROR_LOCAL 1 /* this machine: exceeds the device MTU */
#define PATH_ERROR_ICMP 2  /* an ICMP sender that may be forged; check the quoted datagram */

/**
 * struct path_error - report of an oversized datagram; begins like a peer_row
 * @family:	AF_INET or AF_INET6
 * @port:	destination port, host byte order; 0: unknown, in a local error over IPv4
 * @addr:	destination address
 * @scope_id:	interface index of a link-local address
 * @mtu:	reported path MTU, bytes; 0: not reported (RFC 1191 §5)
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
 * struct path_errors - path errors stored until they are read
 * @count:	used rows, no two of them equal. When all rows are used, further path errors are
 *		lost. A lost one is reported again, because the path stays too narrow
 */
#define PATH_ERRORS_CAP 32
struct path_errors {
	struct path_error rows[PATH_ERRORS_CAP];
	int32_t count;
};

/**
 * struct refused_train - a train that the kernel refused, and whose datagrams it accepted
 * @error:	-EIO, or -EINVAL not caused by the size of the train
 * @peer_idx:	row of the destination peer
 */
struct refused_train {
	int32_t error;
	int32_t peer_idx;
};

/**
 * struct merge_result - outcome of the superframes merged by tap_write_batch(), which sets bits and
 * clears none
 * @taken:	MERGE_* of the superframes that the kernel accepted
 * @refused:	MERGE_* of the superframes that the kernel refused (EINVAL), and whose segments it
 *		accepted
 */
struct merge_result {
	int32_t taken;
	int32_t refused;
};

/**
 * struct wait_result - result of wait_for()
 * @now_ms:	CLOCK_MONOTONIC after the wait, ms
 * @waited_ms:	duration of the wait, ms
 * @tokens:	one per ready descriptor, as passed to wait_add(); an error condition sets bit 30
 */
#define WAIT_CAP 256
#define WAIT_ERROR_BIT 0x40000000
struct wait_result {
	double now_ms;
	double waited_ms;
	int32_t tokens[WAIT_CAP];
};

/**
 * struct arena - memory of frames and datagrams; owned by JavaScript, borrowed for one call
 * @base:	first byte
 * @len:	bytes
 */
struct arena {
	uint8_t *base;
	size_t len;
};

/* True if [off, off + len) lies in the arena. The comparison cannot overflow. */
static inline int arena_holds(struct arena arena, int32_t off, int32_t len)
{
	return off >= 0 && len >= 0 && (size_t)off <= arena.len && (size_t)len <= arena.len - (size_t)off;
}

/**
 * struct tap_region - part of the arena that tap_read_batch() may use
 * @off:	offset of the first byte in the arena
 * @end:	offset after the last byte
 * @headroom:	bytes reserved in front of each frame
 * @slot_len:	bytes of the largest accepted frame
 */
struct tap_region {
	int32_t off;
	int32_t end;
	int32_t headroom;
	int32_t slot_len;
};

/* Options of udp_open(), bit mask. */
#define UDP_OPEN_RECEIVE 1     /* UDP_GRO, TOS, arrival device, IPv6 datagrams without a checksum */
#define UDP_OPEN_RECVERR 2     /* ICMP errors go to the error queue: for sending sockets */
#define UDP_OPEN_DF 4          /* DF set, path MTU tracked by vtepd; else DF clear */
#define UDP_OPEN_NO_CHECKSUM 8 /* send with a UDP checksum of zero */
#define UDP_OPEN_NO_GRO 16     /* with UDP_OPEN_RECEIVE: leave UDP_GRO off */
#define UDP_OPEN_SHARE 32      /* bind exclusively; afterwards other sockets may join */
#define UDP_OPEN_JOIN 64       /* join the port of a socket opened with UDP_OPEN_SHARE */
#define UDP_OPEN_TRAINS 128    /* fail if the kernel lacks UDP_SEGMENT */
#define UDP_OPEN_CLOSED 256   /* receive nothing until udp_admit() */
#define UDP_OPEN_FREEBIND 512  /* bind also an address that this host does not have (yet) */
#define UDP_OPEN_ALL 1023

/**
 * struct udp_slots - slots that udp_receive_batch() fills, one datagram each
 * @stride:	bytes of a slot; the first slot is at the start of the arena
 * @count:	slots
 */
struct udp_slots {
	int32_t stride;
	int32_t count;
};

/* Options of an outer TAP (struct tunnel), bit mask. */
#define TUNNEL_DF 1       /* for datagrams with DF set; else for those with DF clear */
#define TUNNEL_CHECKSUM 2 /* with an outer UDP checksum */

/**
 * struct tunnel - outer TAP that sends superframes whole, IPv4 (tunnel.c)
 * @fd:		returned by tunnel_open(); -1: no outer TAP
 * @local:	local address, network byte order
 * @mtu:	maximum bytes of the outer IP packet of a segment
 * @ttl:	outer TTL
 * @options:	TUNNEL_DF, TUNNEL_CHECKSUM
 * @id:		next IPv4 id; incremented by C
 * @error:	set by C: negative errno of a superframe that was refused and then sent as segments;
 *		0 none
 * @ports:	UDP source ports, indexed by src_port_idx: the ports of the sockets that have the DF
 *		setting of @options
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

/* Bytes that device_driver() fills, including the terminating zero. */
#define DRIVER_NAME_SIZE 32

/* Bits returned by tunnel_segmentation(). */
#define TUNNEL_GSO 1
#define TUNNEL_GSO_CSUM 2

/* Indices of the descriptors that flow_open() fills: maps, then programs. */
#define FLOW_CONFIG 0
#define FLOW_TAPS 1
#define FLOW_VNIS 2
#define FLOW_ROWS 3
#define FLOW_COUNTS 4
#define FLOW_MAPS 5 /* number of maps */
#define FLOW_OUT 5
#define FLOW_IN 6
#define FLOW_ARRIVED 7
#define FLOW_FDS 8 /* number of maps and programs */

/* Limits of the maps. */
#define FLOW_KEY_SIZE 12   /* bytes of the largest key */
#define FLOW_VALUE_SIZE 32 /* bytes of the largest value */
#define FLOW_SLOTS 4096    /* FLOW_ROWS has one entry per slot and direction */
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
int udp_admit(int fd);
int udp_bind_device(int fd, const char *device);
int udp_set_mark(int fd, uint32_t mark);
int udp_source(const struct peer_row *peer, const char *device, uint32_t mark, struct peer_row *source);
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
int tunnel_attach(int ifindex, uint32_t mark);
int tunnel_segmentation(const char *device);

int flow_open(int32_t fds[FLOW_FDS]);
int flow_attach(int program, int ifindex, int egress);
int flow_namespace(void);
int flow_put(int map, const uint8_t *key, const uint8_t *value);
int flow_get(int map, const uint8_t *key, uint8_t *value);
int flow_delete(int map, const uint8_t *key);
int flow_clear(int map);

int policy_count(void);
int cgroup_programs(const char *path, int type);
int64_t device_tx_dropped(int index);
int device_driver(const char *name, uint8_t driver[DRIVER_NAME_SIZE]);
int watch_clear(int fd);

int thread_set_slice(int us);

/* Maximum busy-poll time of wait_for(), µs. */
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
 * struct layout_entry - number that TypeScript and C must agree on
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
_Static_assert(sizeof(struct batch) == 16 * 4 * BATCH_CAP, "columns without padding");

#endif
