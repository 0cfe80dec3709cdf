/**
 * ICMP echo as a path probe (RFC 792, RFC 4443 §4), and its replies and errors.
 *
 * `icmp-quote.ts` parses the "too big" errors that a hop with a smaller MTU returns.
 *
 *     +---------+---------+-------------------+
 *     | type    | code 0  | checksum          |     echo: 8 → 0 (IPv4), 128 → 129 (IPv6)
 *     | identifier        | sequence          |
 *     | data …                                |
 *
 * The layout is that of raw sockets: IPv4 messages have their IP header in front, IPv6 messages do
 * not. This module handles one packet at a time and is not called on the hot path. All received
 * data is untrusted, so the readers check bounds.
 */
import { sum16 } from './checksum.js';
import { icmpOffset, readQuote } from './icmp-quote.js';

const ECHO_REQUEST = { 4: 8, 6: 128 } as const;
const ECHO_REPLY = { 4: 0, 6: 129 } as const;
const PROTOCOL = { 4: 1, 6: 58 } as const;
const CHECKSUM_OFF = 2;

/** Content of a received message about an echo request of this process. */
export interface EchoNews {
  /**
   * MTU that a "too big" error states, bytes; 0: it states none; undefined: the message is an echo
   * reply.
   */
  readonly tooBig: number | undefined;
  readonly identifier: number;
  readonly sequence: number;
}

/**
 * Returns an echo request of `len` bytes: the header, then zeros.
 *
 * The checksum is computed for IPv4. The IPv6 checksum covers the IP addresses, so the kernel
 * computes it (RFC 3542 §3.1).
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

/**
 * @param b message as read from the raw socket
 * @returns undefined for a message that is not about an echo request
 */
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
