/**
 * Path probe messages between two vtepd: a padded request and its short reply.
 *
 * They use the VXLAN port with the I flag clear, so any other VTEP silently drops them (RFC 7348
 * §5). The format is private to vtepd.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+-----------------------------------------------+
 *     |  flags = 0    |                 Reserved = 0                  |
 *     |          VNI in which both are peers          | Reserved = 0  |
 *     +-----------------------------------------------+---------------+
 *     |                       magic = "vtep"                          |
 *     |  version = 1  |     kind      |   length of the request       |
 *     |                                                               |
 *     |                        nonce (64 bits)                        |
 *     +---------------------------------------------------------------+
 *     |                 padding of a request, zeros …
 *
 * Kinds: 1 request, 2 reply to it; 3 identify, 4 identity. Request and reply measure a path;
 * identify and identity show whether a peer is a vtepd.
 *
 * A request is valid only if its length field matches its length. A reply is PROBE_LEN bytes for a
 * request of any length, so the return path need not carry the tested size, and a reply is never
 * longer than its request. A reply is never answered. The nonce authenticates a reply, because a
 * host that did not see the request cannot know the nonce.
 *
 * The accessors do not check bounds: `isProbe` has checked that PROBE_LEN bytes are present.
 */
import { MAX_VNI } from './vxlan.js';

/** Bytes of a reply, and of the shortest request. */
export const PROBE_LEN = 24;

export const PROBE_REQUEST = 1;
export const PROBE_REPLY = 2;
/**
 * Asks whether the receiver is a vtepd that cuts inner UDP superframes before sending. Other VTEPs
 * and older versions do not reply.
 */
export const PROBE_IDENTIFY = 3;
const PROBE_IDENTITY = 4;

const VNI_OFF = 4;
const MAGIC_OFF = 8;
/** "vtep" in ASCII. */
const MAGIC = 0x76746570;
const VERSION_OFF = 12;
const VERSION = 1;
const KIND_OFF = 13;
const LENGTH_OFF = 14;
const NONCE_OFF = 16;

/**
 * Returns true for a message of this version whose length is valid. Any other datagram without the
 * I flag is invalid.
 */
export function isProbe(b: Uint8Array, off: number, len: number): boolean {
  if (len < PROBE_LEN || b[off] !== 0 || b[off + VERSION_OFF] !== VERSION) return false;
  if (word(b, off + MAGIC_OFF) !== MAGIC) return false;
  const kind = probeKind(b, off);
  if (kind === PROBE_REQUEST || kind === PROBE_IDENTIFY) return probedLen(b, off) === len;
  return (kind === PROBE_REPLY || kind === PROBE_IDENTITY) && len === PROBE_LEN;
}

/** Returns true for a kind that requires a reply; the reply has the next higher kind. */
export function isQuestion(kind: number): boolean {
  return (kind & 1) !== 0;
}

/** PROBE_REQUEST, PROBE_REPLY, PROBE_IDENTIFY or PROBE_IDENTITY. */
export function probeKind(b: Uint8Array, off: number): number {
  return b[off + KIND_OFF];
}

/** UDP payload bytes of the request, which a reply repeats. */
export function probedLen(b: Uint8Array, off: number): number {
  return (b[off + LENGTH_OFF] << 8) | b[off + LENGTH_OFF + 1];
}

/** VNI in which sender and receiver are peers, 0 … MAX_VNI. */
export function probeVni(b: Uint8Array, off: number): number {
  return (word(b, off + VNI_OFF) >>> 8) & MAX_VNI;
}

/** Upper half of the nonce, as an int32. */
export function nonceHigh(b: Uint8Array, off: number): number {
  return word(b, off + NONCE_OFF);
}

/** Lower half of the nonce, as an int32. */
export function nonceLow(b: Uint8Array, off: number): number {
  return word(b, off + NONCE_OFF + 4);
}

/**
 * Writes the first PROBE_LEN bytes; the caller writes the padding.
 *
 * @param len length of the request, PROBE_LEN … 65507 bytes
 */
export function writeProbe(
  b: Uint8Array,
  off: number,
  kind: number,
  vni: number,
  len: number,
  high: number,
  low: number,
): void {
  b[off] = b[off + 1] = b[off + 2] = b[off + 3] = 0;
  writeWord(b, off + VNI_OFF, vni << 8);
  writeWord(b, off + MAGIC_OFF, MAGIC);
  b[off + VERSION_OFF] = VERSION;
  b[off + KIND_OFF] = kind;
  b[off + LENGTH_OFF] = len >>> 8;
  b[off + LENGTH_OFF + 1] = len;
  writeWord(b, off + NONCE_OFF, high);
  writeWord(b, off + NONCE_OFF + 4, low);
}

function word(b: Uint8Array, off: number): number {
  return (b[off] << 24) | (b[off + 1] << 16) | (b[off + 2] << 8) | b[off + 3];
}

function writeWord(b: Uint8Array, off: number, value: number): void {
  b[off] = value >>> 24;
  b[off + 1] = value >>> 16;
  b[off + 2] = value >>> 8;
  b[off + 3] = value;
}
