/**
 * A superframe of the overlay by its segments: how many frames on the wire it stands for, how many bytes they have, and how
 * long the largest is. The payload is not touched; the port cuts it up. A frame that is none counts as itself.
 *
 * The columns are the kernel's, and the headers the sender's. A superframe whose columns are not true of it counts as one
 * frame: the port refuses it. Called by the encapsulation for every frame.
 */
import { type Batch, FRAME_NEEDS_CSUM, GSO_NONE, GSO_UDP_L4 } from '../frame/batch.js';
import * as tcp from '../wire/tcp.js';
import { UDP_LEN } from '../wire/udp.js';

/** Sets segCount, wireLen and largestLen of frame i. */
export function countSegments(b: Uint8Array, frames: Batch, i: number): void {
  const len = frames.len[i];
  frames.segCount[i] = 1;
  frames.wireLen[i] = len;
  frames.largestLen[i] = len;
  if (frames.gsoType[i] === GSO_NONE) return;
  const headersLen = superframeHeadersLen(b, frames, i);
  const size = frames.gsoSize[i];
  if (headersLen < 0 || size <= 0 || headersLen >= len) return;
  countBySize(frames, i, headersLen, size);
}

/**
 * Makes the segments of a superframe shorter. Only where what it carries has no boundaries: TCP.
 * @param by bytes that the largest is too long @returns false when nothing of them would be left
 */
export function cutSegments(b: Uint8Array, frames: Batch, i: number, by: number): boolean {
  const headersLen = superframeHeadersLen(b, frames, i);
  const size = frames.largestLen[i] - headersLen - by;
  if (headersLen < 0 || frames.gsoSize[i] <= 0 || size <= 0) return false;
  frames.gsoSize[i] = size;
  countBySize(frames, i, headersLen, size);
  return true;
}

function countBySize(frames: Batch, i: number, headersLen: number, size: number): void {
  const len = frames.len[i];
  frames.segCount[i] = Math.ceil((len - headersLen) / size);
  frames.wireLen[i] = len + (frames.segCount[i] - 1) * headersLen;
  frames.largestLen[i] = Math.min(len, headersLen + size);
}

/** Bytes up to the payload, which each segment repeats; −1: not all there. */
function superframeHeadersLen(b: Uint8Array, frames: Batch, i: number): number {
  const start = frames.csumStart[i];
  if ((frames.flags[i] & FRAME_NEEDS_CSUM) === 0 || start < 0) return -1;
  if (frames.gsoType[i] === GSO_UDP_L4) return start + UDP_LEN;
  const off = frames.off[i];
  return tcp.check(b, off + start, off + frames.len[i]) ? start + tcp.headerLen(b, off + start) : -1;
}
