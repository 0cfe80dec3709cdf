/**
 * Counter block of one worker: written by the worker, read by the main thread.
 *
 * `counter-blocks.ts` combines the blocks of all workers. Cells are Float64, because a 32-bit byte
 * counter wraps within seconds. Rows for VNIs and for (VNI, peer) pairs are in one buffer that is
 * touched lazily: pages without a configured row cost nothing.
 *
 * Consistency: the writer brackets each update of a batch with `begin` and `end` (a sequence lock),
 * so that a snapshot of one VNI satisfies the counter identities exactly:
 *
 *     tap_rx + replicated + fragments = Σ peer_tx + Σ dropped{encap}
 *     Σ peer_rx = tap_tx + Σ dropped{decap}
 *
 * Cells are plain memory, so the order of accesses follows from the sequence number alone
 * (ECMAScript, Memory Model: an atomic write synchronizes with an atomic read that reads from it):
 *
 * - The reader's first `load` reads a value that an `end` wrote: all stores before that `end`
 *   happen before the copy.
 * - The reader's last access is a read-modify-write that adds 0. A `begin` after this addition
 *   reads the value that the addition wrote, directly or through other additions. The copy
 *   therefore happens before the stores of that change and cannot contain them. If a `begin`
 *   changed the number earlier than the addition, the reader repeats the copy.
 *
 * A plain `load` after the copy would not suffice: an acquire load prevents later accesses from
 * moving ahead of it, but does not prevent earlier accesses from moving behind it. On arm64
 * (`ldar`) a cell could therefore be loaded after the number is compared. An addition (`ldaddal`,
 * or `ldaxr` and `stlxr`) also releases. On x86 both forms are ordered, so no test on x86 can show
 * the difference.
 *
 * Both sums over peers include the `other` row of the VNI: traffic with sources that are not
 * configured peers, and the counts of peers that have been removed.
 */
import { DROP_REASON_COUNT } from './drop-reason.js';

/** Offsets in the global row. */
export const G_HEARTBEAT_MS = 0;
export const G_BUSY_RATIO = 1;
export const G_RESERVED_BITS = 2;
/** The unconfigured VNI seen last, plus one; 0: none. */
export const G_STRAY_VNI = 3;
/** Strangers whose row was reused for another source (`--accept any`). */
export const G_STRANGERS_EVICTED = 4;
/** Drops of datagrams that belong to no configured VNI: DROP_REASON_COUNT cells. */
export const G_DROPS_DECAP = 8;
export const GLOBAL_ROW = rowLen(G_DROPS_DECAP + DROP_REASON_COUNT);

/** Offsets in a VNI row. The generation shows a reader that a row has been reused. */
export const V_GENERATION = 0;
export const V_TAP_RX_FRAMES = 1;
export const V_TAP_RX_BYTES = 2;
export const V_TAP_TX_FRAMES = 3;
export const V_TAP_TX_BYTES = 4;
export const V_FLOODED_BROADCAST = 5;
export const V_FLOODED_MULTICAST = 6;
export const V_FLOODED_UNKNOWN = 7;
export const V_REPLICATED = 8;
export const V_FRAGMENTS = 9;
export const V_FDB_STATIC = 10;
export const V_FDB_DYNAMIC = 11;
export const V_LEARNED = 12;
export const V_MOVED = 13;
export const V_AGED = 14;
export const V_EVICTED = 15;
export const V_TOO_BIG_ICMP = 16;
export const V_TOO_BIG_FRAGMENT = 17;
export const V_TOO_BIG_DROP = 18;
export const V_MSS_CLAMPED = 19;
/**
 * Frames for this VNI that the kernel dropped at the TAP's queue. Written by the main thread
 * (`vtep/tap-queues.ts`).
 */
export const V_TAP_QUEUE_DROPPED = 20;
/** Row of the peer that last sent a frame with a MAC of this VTEP, plus 1; 0: none has. */
export const V_TWIN_PEER = 21;
/** Frames of peers with a MAC of this VTEP: of its TAP, or of the bridge that vtepd makes. */
export const V_TWIN_FRAMES = 22;
export const V_DROPS_ENCAP = 24;
export const V_DROPS_DECAP = V_DROPS_ENCAP + DROP_REASON_COUNT;
export const VNI_ROW = rowLen(V_DROPS_DECAP + DROP_REASON_COUNT);

/** Offsets in a peer row. */
export const P_GENERATION = 0;
export const P_TX_FRAMES = 1;
export const P_TX_BYTES = 2;
export const P_RX_FRAMES = 3;
export const P_RX_BYTES = 4;
/**
 * Time of the last frame from the peer, ms of CLOCK_MONOTONIC, which all workers share; 0: never.
 */
export const P_LAST_SEEN_MS = 5;
/** Path MTU as reported by the network, bytes; 0: no report, or the report has expired. */
export const P_PATH_MTU = 6;
/** Dynamic FDB entries that point at this peer. */
export const P_FDB_DYNAMIC = 7;
export const PEER_ROW = 8;

const SEQUENCE_LEN = 64;

/** Rounds a number of cells up, so that rows begin at cache lines of 64 bytes. */
function rowLen(used: number): number {
  return (used + 7) & ~7;
}

/** Most attempts of a reader to make a copy that no update disturbs. */
export const READ_ATTEMPTS = 10_000;
/** Most pauses of a reader while the writer is stopped within an update, 1 ms each. */
const READ_PAUSES = 100;

export class Counters {
  readonly buffer: SharedArrayBuffer;
  readonly cells: Float64Array;
  readonly #sequence: Int32Array;
  readonly #maxVnis: number;

  /** The first cell of row i is `vniBase(i)` or `peerBase(i)`; the global row starts at cell 0. */
  constructor(maxVnis: number, maxPeers: number, buffer?: SharedArrayBuffer) {
    this.#maxVnis = maxVnis;
    const cells = GLOBAL_ROW + maxVnis * VNI_ROW + maxPeers * PEER_ROW;
    this.buffer = buffer ?? new SharedArrayBuffer(SEQUENCE_LEN + cells * 8);
    this.#sequence = new Int32Array(this.buffer, 0, 1);
    this.cells = new Float64Array(this.buffer, SEQUENCE_LEN, cells);
  }

  vniBase(vniIdx: number): number {
    return GLOBAL_ROW + vniIdx * VNI_ROW;
  }

  peerBase(peerIdx: number): number {
    return GLOBAL_ROW + this.#maxVnis * VNI_ROW + peerIdx * PEER_ROW;
  }

  /** Writer: changes up to `end` become visible together. */
  begin(): void {
    Atomics.add(this.#sequence, 0, 1);
  }

  end(): void {
    Atomics.add(this.#sequence, 0, 1);
  }

  /** Writer: completes the update of a predecessor that died between `begin` and `end`. */
  recover(): void {
    if ((Atomics.load(this.#sequence, 0) & 1) !== 0) this.end();
  }

  /**
   * Reader: repeats `copy` until no update of a batch has disturbed it.
   *
   * A writer that lost its core within an update gets time to continue. The attempts are bounded:
   * if the writer never pauses, or has died, the last copy is used, which is possibly inconsistent
   * by a few frames.
   *
   * @param attempts most attempts; callers pass a small number for copies that take long
   */
  consistently(copy: () => void, attempts = READ_ATTEMPTS): void {
    let pauses = 0;
    for (let attempt = 0; attempt < attempts && pauses < READ_PAUSES; attempt++) {
      const before = Atomics.load(this.#sequence, 0);
      if ((before & 1) !== 0) {
        // The wait returns immediately if the writer has continued. The writer sends no notify, so
        // otherwise the wait lasts 1 ms.
        if (Atomics.wait(this.#sequence, 0, before, 1) === 'timed-out') pauses++;
        continue;
      }
      copy();
      if (this.#isStill(before)) return;
    }
    copy();
  }

  /**
   * Compares with a plain load first. The addition moves the cache line away from the writer, so it
   * runs only after a copy that the load shows as undisturbed.
   */
  #isStill(before: number): boolean {
    return Atomics.load(this.#sequence, 0) === before && Atomics.add(this.#sequence, 0, 0) === before;
  }

  /** Writer: sets a row to zero under a new generation. */
  resetRow(base: number, length: number, generation: number): void {
    this.cells.fill(0, base, base + length);
    this.cells[base] = generation;
  }
}
