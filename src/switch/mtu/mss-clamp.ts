/**
 * MSS clamp for TCP SYN and SYN-ACK in both directions.
 *
 * The MSS option of a SYN announces the largest segment that its sender accepts. If such a segment
 * exceeds the path to the peer, the value is lowered in transit, so that neither end sends segments
 * that do not fit. This avoids the loss of the first full segments, and works where ICMP is
 * filtered.
 *
 * The new value is the largest IP packet that the path carries, less the fixed IP and TCP headers
 * (RFC 9293 §3.7.1, RFC 6691). An MSS is never raised, and a missing option is not added. The
 * checksum is updated (RFC 1624). A postponed checksum is not changed, because its field holds only
 * the pseudo-header sum, which does not cover the options.
 *
 * Encap and decap call `synOffset` only for frames that may be a SYN: a short test excludes plain
 * IPv4 frames without the SYN flag.
 */

import { V_MSS_CLAMPED } from '../../exchange/counters.js';
import { put16, updateChecksum } from '../../wire/checksum.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';
import * as tcp from '../../wire/tcp.js';
import type { Tables } from '../fdb/tables.js';

const IPV4_HEADERS_LEN = ipv4.IPV4_LEN + tcp.TCP_LEN;
const IPV6_HEADERS_LEN = ipv6.IPV6_LEN + tcp.TCP_LEN;
/**
 * Bytes of IPv4 and TCP headers without options, and offset of the TCP flags from the IPv4 header
 * on.
 */
export const PLAIN_TCP_LEN = IPV4_HEADERS_LEN;
export const PLAIN_FLAGS_OFF = ipv4.IPV4_LEN + tcp.FLAGS_OFF;
/** Smallest clamped MSS, bytes: Linux does not send smaller segments (tcp_min_snd_mss). */
const LEAST_MSS = 48;

/**
 * @param type EtherType of the network header at `network` @param end end of the frame
 * @returns offset of the TCP header of a SYN; −1 for any other frame
 */
export function synOffset(b: Uint8Array, type: number, network: number, end: number): number {
  if (type === ETHERTYPE_IPV4) return synInIpv4(b, network, end);
  return type === ETHERTYPE_IPV6 ? synInIpv6(b, network, end) : -1;
}

export class MssClamp {
  readonly #tables: Tables;
  readonly #outerFragments: boolean;

  /**
   * @param outerFragments true when routers are allowed to fragment outer datagrams: then the VNI's
   * `--mtu`, if it is set, determines the MSS, and not the path
   */
  constructor(tables: Tables, outerFragments: boolean) {
    this.#tables = tables;
    this.#outerFragments = outerFragments;
  }

  /**
   * Lowers the MSS of a SYN to or from a peer, if segments of that size exceed the path.
   *
   * @param off offset of the frame @param network offset of its network header
   * @param syn offset of its TCP header, as returned by `synOffset`
   * @param postponed true when the checksum is still to be completed
   */
  clamp(b: Uint8Array, off: number, network: number, syn: number, peerIdx: number, postponed: boolean): void {
    const value = tcp.mssOffset(b, syn);
    if (value < 0) return;
    const { paths, peers, counters } = this.#tables;
    const headersLen = b[network] >>> 4 === 4 ? IPV4_HEADERS_LEN : IPV6_HEADERS_LEN;
    const packetMax = paths.packetMax(peerIdx, network - off, this.#outerFragments);
    const fitting = Math.max(LEAST_MSS, packetMax - headersLen);
    const announced = (b[value] << 8) | b[value + 1];
    if (announced <= fitting) return;
    put16(b, value, fitting);
    if (!postponed) {
      const isOdd = ((value - syn) & 1) !== 0;
      const field = syn + tcp.CHECKSUM_OFF;
      updateChecksum(b, field, isOdd ? swapped(announced) : announced, isOdd ? swapped(fitting) : fitting);
    }
    counters.cells[counters.vniBase(peers.vniIdx(peerIdx)) + V_MSS_CLAMPED]++;
  }
}

function synInIpv4(b: Uint8Array, ip: number, end: number): number {
  if (end - ip < IPV4_HEADERS_LEN || ipv4.protocol(b, ip) !== ipv4.PROTOCOL_TCP) return -1;
  const at = ip + ipv4.headerLen(b, ip);
  if (end - at < tcp.TCP_LEN || (tcp.flags(b, at) & tcp.FLAG_SYN) === 0) return -1;
  const isSound = ipv4.check(b, ip, end) && !ipv4.isFragment(b, ip);
  return isSound && tcp.check(b, at, ip + ipv4.totalLen(b, ip)) ? at : -1;
}

function synInIpv6(b: Uint8Array, ip: number, end: number): number {
  if (end - ip < IPV6_HEADERS_LEN || ipv6.nextHeader(b, ip) === ipv4.PROTOCOL_UDP) return -1;
  if (!ipv6.check(b, ip, end)) return -1;
  const packetEnd = ip + ipv6.IPV6_LEN + ipv6.payloadLen(b, ip);
  const found = ipv6.transport(b, ip, packetEnd);
  if (found < 0 || ipv6.transportProtocol(found) !== ipv4.PROTOCOL_TCP) return -1;
  const at = ip + ipv6.transportOffset(found);
  return tcp.check(b, at, packetEnd) && (tcp.flags(b, at) & tcp.FLAG_SYN) !== 0 ? at : -1;
}

function swapped(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}
