/**
 * Counts the frames and bytes of encap and decap.
 *
 * One pass over a batch, after the system calls have set the status of each descriptor. For the
 * frames of a batch, this module writes all counters of the identity of the counters, between
 * `begin` and `end` of the counter block. A reader therefore never sees a partly counted frame:
 *
 *     encap: every descriptor is one copy. The first copy of a frame counts as tap_rx, the
 *            others as replicated; each of them then counts as peer_tx or as one drop. A
 *            fragmented copy is several descriptors: the first is that copy, the others count
 *            as fragments.
 *     decap: every frame that belongs to a VNI counts as peer_rx, then as tap_tx or as one drop.
 *            A datagram that belongs to no VNI (vniIdx −1) counts as one drop of the daemon.
 *
 * Frames and bytes are those on the wire: `segCount` and `wireLen` of a superframe are those of its
 * segments.
 */

import type { Batch } from '../../abi/batch.js';
import { ERRNO } from '../../abi/errno.js';
import {
  type Counters,
  G_DROPS_DECAP,
  G_RESERVED_BITS,
  P_LAST_SEEN_MS,
  P_RX_BYTES,
  P_RX_FRAMES,
  P_TX_BYTES,
  P_TX_FRAMES,
  V_DROPS_DECAP,
  V_DROPS_ENCAP,
  V_FLOODED_BROADCAST,
  V_FLOODED_MULTICAST,
  V_FLOODED_UNKNOWN,
  V_FRAGMENTS,
  V_REPLICATED,
  V_TAP_RX_BYTES,
  V_TAP_RX_FRAMES,
  V_TAP_TX_BYTES,
  V_TAP_TX_FRAMES,
} from '../../exchange/counters.js';
import { DROP } from '../../exchange/drop-reason.js';
import { type Clock, NOW_MS } from '../fdb/clock.js';
import type { Tables } from '../fdb/tables.js';
import { FRAME_FIRST_COPY, STATUS_PENDING } from '../port/port.js';

/** `flags` column, beside FRAME_FIRST_COPY: the reason why a frame was flooded. */
export const FRAME_BROADCAST = 1 << 9;
export const FRAME_MULTICAST = 1 << 10;
export const FRAME_UNKNOWN_UNICAST = 1 << 11;
/** `flags` column: the datagram had reserved bits set. */
export const FRAME_RESERVED_BITS = 1 << 12;
/**
 * `flags` column: an inner fragment after the first. The bits from FRAGMENT_HEADERS_SHIFT on hold
 * the bytes of its repeated headers, which were not read from the TAP.
 */
export const FRAME_FRAGMENT = 1 << 13;
export const FRAGMENT_HEADERS_SHIFT = 16;

const FLOODED = FRAME_BROADCAST | FRAME_MULTICAST | FRAME_UNKNOWN_UNICAST;

/**
 * Counts the results of `send` or `completions`. Pending descriptors are counted when they
 * complete.
 */
export function accountEncap(batch: Batch, tables: Tables): void {
  const { counters } = tables;
  const { cells } = counters;
  counters.begin();
  for (let i = 0; i < batch.count; i++) {
    const status = batch.status[i];
    if (status === STATUS_PENDING) continue;
    const vniBase = counters.vniBase(batch.vniIdx[i]);
    const frames = batch.segCount[i];
    const bytes = batch.wireLen[i];
    const flags = batch.flags[i];
    if ((flags & FRAME_FRAGMENT) !== 0) {
      cells[vniBase + V_FRAGMENTS] += frames;
      if ((flags & FRAME_FIRST_COPY) !== 0)
        cells[vniBase + V_TAP_RX_BYTES] += bytes - (flags >>> FRAGMENT_HEADERS_SHIFT);
    } else if ((flags & FRAME_FIRST_COPY) !== 0) {
      cells[vniBase + V_TAP_RX_FRAMES] += frames;
      cells[vniBase + V_TAP_RX_BYTES] += bytes;
      if ((flags & FLOODED) !== 0) cells[vniBase + floodedCell(flags)] += frames;
    } else cells[vniBase + V_REPLICATED] += frames;
    const reason = batch.verdict[i] !== 0 ? batch.verdict[i] : status === 0 ? 0 : sendFailure(status);
    if (reason === 0) {
      const peerBase = counters.peerBase(accountOf(tables, batch.peerIdx[i], batch.vniIdx[i]));
      cells[peerBase + P_TX_FRAMES] += frames;
      cells[peerBase + P_TX_BYTES] += bytes;
    } else cells[vniBase + V_DROPS_ENCAP + reason] += frames;
  }
  counters.end();
}

/** Counts the results of `write`. @param clock time now, for the peers' last-seen counters */
export function accountDecap(batch: Batch, counters: Counters, clock: Clock): void {
  const { cells } = counters;
  counters.begin();
  for (let i = 0; i < batch.count; i++) {
    const frames = batch.segCount[i];
    const bytes = batch.wireLen[i];
    const verdict = batch.verdict[i];
    const reason = verdict !== 0 ? verdict : batch.status[i] === 0 ? 0 : writeFailure(batch.status[i]);
    if ((batch.flags[i] & FRAME_RESERVED_BITS) !== 0) cells[G_RESERVED_BITS] += frames;
    if (batch.vniIdx[i] < 0) {
      cells[G_DROPS_DECAP + reason] += frames;
      continue;
    }
    const vniBase = counters.vniBase(batch.vniIdx[i]);
    const peerBase = counters.peerBase(batch.peerIdx[i]);
    cells[peerBase + P_RX_FRAMES] += frames;
    cells[peerBase + P_RX_BYTES] += bytes;
    cells[peerBase + P_LAST_SEEN_MS] = clock[NOW_MS];
    if (reason === 0) {
      cells[vniBase + V_TAP_TX_FRAMES] += frames;
      cells[vniBase + V_TAP_TX_BYTES] += bytes;
    } else cells[vniBase + V_DROPS_DECAP + reason] += frames;
  }
  counters.end();
}

/**
 * Returns the peer row that counts a sent frame: the peer's own row, or the VNI's `other` row for a
 * learned peer and for a peer that was removed while the send was pending.
 */
function accountOf(tables: Tables, peerIdx: number, vniIdx: number): number {
  return tables.peers.isConfigured(peerIdx, vniIdx) ? peerIdx : tables.vnis.otherIdx[vniIdx];
}

function floodedCell(flags: number): number {
  if ((flags & FRAME_BROADCAST) !== 0) return V_FLOODED_BROADCAST;
  return (flags & FRAME_MULTICAST) !== 0 ? V_FLOODED_MULTICAST : V_FLOODED_UNKNOWN;
}

const EIO = -ERRNO.EIO;
const EBADF = -ERRNO.EBADF;
const EAGAIN = -ERRNO.EAGAIN;
const ENOMEM = -ERRNO.ENOMEM;
const EFBIG = -ERRNO.EFBIG;
const EMSGSIZE = -ERRNO.EMSGSIZE;
const ENOBUFS = -ERRNO.ENOBUFS;
/** errno EBADFD, which os.constants lacks. */
const EBADFD = -77;
const ENODEV = -ERRNO.ENODEV;

/** Maps the errno of a send to a drop reason. */
export function sendFailure(status: number): number {
  switch (status) {
    case EMSGSIZE:
      return DROP.too_big;
    case EAGAIN:
    case ENOBUFS:
      return DROP.underlay_full;
    case ENOMEM:
      return DROP.no_slot;
    default:
      return DROP.no_route;
  }
}

/** Maps the errno of a TAP write to a drop reason. */
export function writeFailure(status: number): number {
  switch (status) {
    case EIO:
    case EBADF:
    case EBADFD:
    case ENODEV:
      return DROP.overlay_down;
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
      return DROP.overlay_full;
    case EFBIG:
    case EMSGSIZE:
      return DROP.too_big;
    default:
      return DROP.invalid_hdr;
  }
}
