/**
 * ICMP echo as a path probe (RFC 792, RFC 4443 §4), and the errors that a too narrow hop answers it with
 * (`icmp-quote.ts`).
 *
 *     +---------+---------+-------------------+
 *     | type    | code 0  | checksum          |     echo: 8 → 0 (IPv4), 128 → 129 (IPv6)
 *     | identifier        | sequence          |
 *     | data …                                |
 *
 * As raw sockets have them: IPv4 with its IP header in front, IPv6 without. Cold path: one packet at a time, and
 * everything received is hostile, so readers check their own bounds.
 */
import { sum16 } from './checksum.js';
import { icmpOffset, readQuote } from './icmp-quote.js';

const ECHO_REQUEST = { 4: 8, 6: 128 } as const;
const ECHO_REPLY = { 4: 0, 6: 129 } as const;
const PROTOCOL = { 4: 1, 6: 58 } as const;
const CHECKSUM_OFF = 2;

/** What a received message says about one echo request of ours. */
export interface EchoNews {
  /** It did not fit a hop: what that says it carries, 0 when it says nothing; undefined: it was answered. */
  readonly tooBig: number | undefined;
  readonly identifier: number;
  readonly sequence: number;
}

/**
 * An echo request of `len` bytes, zeros behind the header. The checksum is IPv4's; IPv6's covers addresses too and
 * is the kernel's to fill in (RFC 3542 §3.1).
 */
export function makeEcho(family: 4 | 6, identifier: number, sequence: number, len: number): Uint8Array {
  const b = new Uint8Array(len);
  const view = new DataView(b.buffer);
  b[0] = ECHO_REQUEST[family];
  view.setUint16(4, identifier);
  view.setUint16(6, sequence);
  if (family === 4) view.setUint16(CHECKSUM_OFF, ~sum16(b, 0, len, 0) & 0xffff);
  return b;
}

/** @param b a message as the raw socket gave it. @returns undefined for anything that is not about an echo request */
export function readEchoNews(family: 4 | 6, b: Uint8Array): EchoNews | undefined {
  const icmp = icmpOffset(family, b);
  if (icmp >= 0 && b[icmp] === ECHO_REPLY[family]) return newsAt(b, icmp, undefined);
  const quote = readQuote(family, b);
  if (quote?.protocol !== PROTOCOL[family] || b[quote.l4] !== ECHO_REQUEST[family]) return undefined;
  return newsAt(b, quote.l4, quote.mtu);
}

function newsAt(b: Uint8Array, echo: number, tooBig: number | undefined): EchoNews {
  const view = new DataView(b.buffer, b.byteOffset);
  return { tooBig, identifier: view.getUint16(echo + 4), sequence: view.getUint16(echo + 6) };
}
