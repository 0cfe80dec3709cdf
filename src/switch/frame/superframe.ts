/**
 * Segment counts and limits of superframes from the overlay.
 *
 * Computes the number of frames on the wire that a superframe stands for, their bytes and the
 * length of the largest, and decides whether the superframe may be sent. The payload is not read;
 * the port segments it. A frame that is no superframe counts as one frame.
 *
 * The columns come from the kernel, the headers from the sender. A superframe whose columns
 * contradict its headers counts as one frame: the port refuses it. Called by encap for every frame.
 *
 * A VM chooses the segment size, and each segment of each copy is a datagram: with segments of one
 * byte, one frame of 64 KB would become 65,000 datagrams for each peer. Two limits prevent this. A
 * normal network stack keeps within both:
 *
 * | inner protocol | most segments | least payload of a segment, bytes |
 * |----------------|---------------|-----------------------------------|
 * | TCP            | 256           | 88: TCP_MIN_MSS of Linux          |
 * | UDP            | 128           | 1, as datagrams may be short      |
 *
 * 256 segments of an MSS of 256 bytes fill the largest superframe; 128 are UDP_MAX_SEGMENTS of
 * Linux. One or two segments of any size pass, because they cost no more than separate frames.
 */
import {
  type Batch,
  FRAME_NEEDS_CSUM,
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
} from '../../abi/batch.js';
import * as tcp from '../../wire/tcp.js';
import { UDP_LEN } from '../../wire/udp.js';

/** Most segments of a superframe. The shim enforces the same limit (`native-shims/segment.h`). */
const TCP_SEGMENTS_MAX = 256;
const UDP_SEGMENTS_MAX = 128;
/** Least payload of a TCP segment, bytes, in a superframe of more than FEW_SEGMENTS. */
const TCP_SEGMENT_MIN = 88;
const FEW_SEGMENTS = 2;

/**
 * Sets segCount, wireLen and largestLen of frame i.
 * @returns false when the segments are too small or too many: the superframe then counts as one
 * frame
 */
export function countSegments(b: Uint8Array, frames: Batch, i: number): boolean {
  const len = frames.len[i];
  frames.segCount[i] = 1;
  frames.wireLen[i] = len;
  frames.largestLen[i] = len;
  if (frames.gsoType[i] === GSO_NONE) return true;
  const headersLen = superframeHeadersLen(b, frames, i);
  const size = frames.gsoSize[i];
  if (headersLen < 0 || size <= 0 || headersLen >= len) return true;
  if (!isBounded(frames.gsoType[i], Math.ceil((len - headersLen) / size), size)) return false;
  countBySize(frames, i, headersLen, size);
  return true;
}

function isBounded(gsoType: number, segments: number, size: number): boolean {
  if (segments <= FEW_SEGMENTS) return true;
  if (gsoType === GSO_UDP_L4) return segments <= UDP_SEGMENTS_MAX;
  return segments <= TCP_SEGMENTS_MAX && size >= TCP_SEGMENT_MIN;
}

/** @returns true for a gsoType of TCP segments */
export function isTcpSuperframe(gsoType: number): boolean {
  const type = gsoType & ~GSO_ECN;
  return type === GSO_TCPV4 || type === GSO_TCPV6;
}

/**
 * Makes the segments of a superframe shorter. Only for TCP, whose payload has no boundaries.
 * @param by bytes by which the largest segment is too long
 * @returns false when the segments would be too small or too many
 */
export function cutSegments(b: Uint8Array, frames: Batch, i: number, by: number): boolean {
  const headersLen = superframeHeadersLen(b, frames, i);
  const size = frames.largestLen[i] - headersLen - by;
  if (headersLen < 0 || frames.gsoSize[i] <= 0 || size <= 0) return false;
  if (!isBounded(frames.gsoType[i], Math.ceil((frames.len[i] - headersLen) / size), size)) return false;
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

/**
 * Returns the bytes in front of the payload, which each segment repeats; −1 when they are
 * incomplete.
 */
function superframeHeadersLen(b: Uint8Array, frames: Batch, i: number): number {
  const start = frames.csumStart[i];
  if ((frames.flags[i] & FRAME_NEEDS_CSUM) === 0 || start < 0) return -1;
  if (frames.gsoType[i] === GSO_UDP_L4) return start + UDP_LEN;
  const off = frames.off[i];
  return tcp.check(b, off + start, off + frames.len[i]) ? start + tcp.headerLen(b, off + start) : -1;
}
