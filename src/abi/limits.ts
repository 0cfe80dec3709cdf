/**
 * Sizes of the data plane's memory, with units and reasons.
 *
 * The shim defines the same values where it needs them; `abi/layout.ts` compares them at load.
 */

/**
 * Descriptors in a batch, filled by one round of system calls. 128 was fastest in measurements; 512
 * gained nothing.
 */
export const BATCH_CAP = 128;

/**
 * Sockets of the source-port pool per address family. A power of two, because a mask of the flow
 * hash selects the socket.
 */
export const SOURCE_SOCKETS = 64;

/**
 * All sending sockets: SOURCE_SOCKETS each for IPv4 and IPv6 with DF set, then for IPv4 and IPv6
 * with DF clear.
 */
export const SEND_SOCKETS = 4 * SOURCE_SOCKETS;

/**
 * Receiving sockets over which the peers of a kind are spread, so that a flooding peer fills only
 * its own socket's queue. There are two kinds: peers whose trains may be received whole, and other
 * peers.
 */
export const RECEIVE_SHARES = 4;

/**
 * Receiving sockets per address family and worker, in the order of their indices in the receive
 * group: RECEIVE_SHARES without UDP_GRO, RECEIVE_SHARES with UDP_GRO, one for strangers. The
 * program that selects the socket returns index 0, a socket without UDP_GRO, for a packet that it
 * cannot read.
 */
export const RECEIVE_SOCKETS = 2 * RECEIVE_SHARES + 1;
/** Index of the socket for strangers in the receive group. */
export const STRANGERS_SOCKET = 2 * RECEIVE_SHARES;

/** Bytes of a VXLAN header, reserved in front of every frame read from the overlay. */
export const VXLAN_HEADROOM = 8;

/** Bytes of a cache line. The headroom of each frame begins at a cache line. */
export const CACHE_LINE = 64;

/**
 * Bytes of the largest frame in a slot: a 64 KB superframe with Ethernet header and two VLAN tags.
 */
export const SLOT_MAX_LEN = 65536 + 22;

/**
 * Bytes from one receive slot to the next. Not a multiple of 4096, so that the headers of adjacent
 * slots map to different sets of the L1 cache.
 */
export const RECEIVE_SLOT_STRIDE = 65536 + 832;

/**
 * Bytes of frames that one overlay round reads, then sends. This amount fits well within the L2
 * cache.
 */
export const OVERLAY_ROUND_LEN = 256 * 1024;

/**
 * Bytes of the largest batch of frames read at once: a round, and one frame of the largest size,
 * which is read when the round is almost full.
 */
export const OVERLAY_REGION_LEN = OVERLAY_ROUND_LEN + SLOT_MAX_LEN + 4096;

/**
 * Small slots of the backlogs (`switch/forward/backlog.ts`), at the end of the overlay's arena.
 *
 * A slot holds the frames of a batch that exceed the share of their VNI, usually a few small frames
 * for many peers. Slots use memory only after a flood has touched their pages.
 */
export const BACKLOG_SMALL_SLOTS = 64;
/** Bytes of a small slot. */
export const BACKLOG_SMALL_LEN = 16 * 1024;
/** Large slots of the backlogs. */
export const BACKLOG_LARGE_SLOTS = 16;
/** Bytes of a large slot, which holds a whole batch. */
export const BACKLOG_LARGE_LEN = (OVERLAY_REGION_LEN + 2 * CACHE_LINE - 1) & -CACHE_LINE;
/** Bytes of all slots of the backlogs, with padding to align the first slot to a cache line. */
export const BACKLOG_LEN =
  CACHE_LINE + BACKLOG_SMALL_SLOTS * BACKLOG_SMALL_LEN + BACKLOG_LARGE_SLOTS * BACKLOG_LARGE_LEN;

/**
 * Target size in bytes of one underlay round; it determines how many slots a receive call offers.
 */
export const UNDERLAY_ROUND_LEN = 1024 * 1024;

/** Bytes of one packed peer row (`struct peer_row`). */
export const PEER_ROW_LEN = 32;

/**
 * Path errors stored until they are read, one per path. Further errors are lost; later datagrams on
 * those paths cause new errors.
 */
export const PATH_ERRORS_CAP = 32;

/** Rows of the VNI table. */
export const MAX_VNIS = 4096;

/** Rows of the peer table: one per (VNI, peer). Pages that are never touched cost no memory. */
export const MAX_PEERS = 1 << 20;

/** Rows at the end of the peer table for sources that are not configured (`--accept any`). */
export const LEARNED_ROWS = 4096;

/** Bytes of one worker's capture ring: a header of 128, then records. */
export const CAPTURE_RING_LEN = 128 + 4 * 1024 * 1024;

/**
 * Bytes of the ring for notes from one worker to another: a header of 128, then 1,024 notes of 64.
 */
export const NOTE_RING_LEN = 128 + 1024 * 64;
