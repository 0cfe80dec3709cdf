/**
 * Sizes of the data plane's memory, each with its unit and its reason. The shim has the same values where
 * it needs them; `abi/layout.ts` compares them at load.
 */

/** Descriptors in a batch: what one system-call round brings. 128 was best in measurements, 512 no better. */
export const BATCH_CAP = 128;

/** Sockets of the source-port pool, per address family. A power of two: the flow hash is masked with it. */
export const SOURCE_SOCKETS = 64;

/** Sending sockets in all: SOURCE_SOCKETS each of IPv4 and IPv6 with DF set, then of IPv4 and IPv6 with DF clear. */
export const SEND_SOCKETS = 4 * SOURCE_SOCKETS;

/**
 * Shares of the receiving side: sockets over which the peers of a kind are spread, so that the queue of one that floods is
 * its own. Twice: for peers whose trains may come whole, and for others.
 */
export const RECEIVE_SHARES = 4;

/**
 * Receiving sockets of a family and worker, in the order of their places in the group: RECEIVE_SHARES plain ones, as many
 * with UDP_GRO, one for strangers. Place 0 is what a program answers that cannot read a packet: a plain one.
 */
export const RECEIVE_SOCKETS = 2 * RECEIVE_SHARES + 1;
export const STRANGERS_SOCKET = 2 * RECEIVE_SHARES;

/** Bytes of a VXLAN header, kept free in front of every frame read from the overlay. */
export const VXLAN_HEADROOM = 8;

/** Bytes. The headroom of each frame begins on one. */
export const CACHE_LINE = 64;

/** Largest frame a slot must take, bytes: a 64 KB superframe with its Ethernet header and two VLAN tags. */
export const SLOT_MAX_LEN = 65536 + 22;

/**
 * Bytes from one receive slot to the next. Not a multiple of 4096, so that the headers of neighbouring slots
 * fall into different sets of the L1 cache.
 */
export const RECEIVE_SLOT_STRIDE = 65536 + 832;

/** Bytes of frames that one overlay round reads before it is sent: in the L2 cache with room to spare. */
export const OVERLAY_ROUND_LEN = 256 * 1024;

/** Bytes of the largest batch of frames that is read at once: a round, and one largest frame read just before it is full. */
export const OVERLAY_REGION_LEN = OVERLAY_ROUND_LEN + SLOT_MAX_LEN + 4096;

/**
 * The part of a batch beyond its VNI's share waits in a slot at the end of the overlay's arena (`switch/forward/backlog.ts`). Most
 * often that is a few small frames for many peers; a slot of the larger kind takes a whole batch. Slots are pages that
 * cost memory only once a flood has used them.
 */
export const BACKLOG_SMALL_SLOTS = 64;
export const BACKLOG_SMALL_LEN = 16 * 1024;
export const BACKLOG_LARGE_SLOTS = 16;
export const BACKLOG_LARGE_LEN = (OVERLAY_REGION_LEN + 2 * CACHE_LINE - 1) & -CACHE_LINE;
/** With what the first slot may need to begin on a cache line. */
export const BACKLOG_LEN =
  CACHE_LINE + BACKLOG_SMALL_SLOTS * BACKLOG_SMALL_LEN + BACKLOG_LARGE_SLOTS * BACKLOG_LARGE_LEN;

/** Bytes that one underlay round aims at; decides how many slots are offered to a receive call. */
export const UNDERLAY_ROUND_LEN = 1024 * 1024;

/** Bytes of one packed peer row (`struct peer_row`). */
export const PEER_ROW_LEN = 32;

/** Path errors kept until somebody looks at them, each of another path. A path that is too small tells again. */
export const PATH_ERRORS_CAP = 32;

/** Rows of the VNI table. */
export const MAX_VNIS = 4096;

/** Rows of the peer table: one per (VNI, peer). Pages that are never touched cost no memory. */
export const MAX_PEERS = 1 << 20;

/** Rows at the end of the peer table for sources that are not configured (`--accept any`). */
export const LEARNED_ROWS = 4096;

/** Bytes of the ring that one worker captures packets into: a header of 128, and records. */
export const CAPTURE_RING_LEN = 128 + 4 * 1024 * 1024;

/** Bytes of the ring in which one worker tells another what it learned: a header of 128, and 1,024 notes of 64. */
export const NOTE_RING_LEN = 128 + 1024 * 64;
