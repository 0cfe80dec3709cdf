/**
 * Outer TOS (DSCP and ECN) and DF, derived from the inner header.
 *
 * Computed once per frame, whatever the number of its copies. ECN is always copied from the inner
 * packet (RFC 6040 §4.1, normal mode). With `inherit` the DSCP is copied too (RFC 2983 §3, uniform
 * model); otherwise the configured DSCP is used. Non-IP frames get ECN 0 and, with `inherit`, DSCP
 * 0 (best effort). The TTL is set on the socket.
 *
 * Called by encap, which has found the network header and its EtherType. The length of the header
 * is checked here.
 */
import { DF_CLEAR, DF_SET } from '../../abi/batch.js';
import type { OuterPolicy } from '../../exchange/protocol.js';
import { ECN_MASK } from '../../wire/ecn.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';

/**
 * Policies for DF and TOS of the outer header. For `--df inherit`, DF counts as set in an inner
 * IPv6 packet. The two ECN bits of the TOS are always those of the inner packet.
 */
export type OuterOptions = Readonly<Pick<OuterPolicy, 'df' | 'tos'>>;

/** Value of `tosOption` for `inherit`. */
export const TOS_INHERITED = -1;

/** Returns the TOS setting as a small integer, for `outerTos`. */
export function tosOption({ tos }: OuterOptions): number {
  return tos === 'inherit' ? TOS_INHERITED : tos & ~ECN_MASK;
}

/**
 * @param type EtherType of the network header at `network` @param end end of the frame
 * @param option result of `tosOption`
 * @returns TOS or traffic class byte
 */
export function outerTos(b: Uint8Array, type: number, network: number, end: number, option: number): number {
  const inner = innerTos(b, type, network, end);
  return option === TOS_INHERITED ? inner : option | (inner & ECN_MASK);
}

/**
 * DF for `--df inherit`. @param type EtherType of the network header at `network` @param end end of
 * the frame
 */
export function inheritedDf(b: Uint8Array, type: number, network: number, end: number): number {
  if (type === ETHERTYPE_IPV6) return DF_SET;
  if (type !== ETHERTYPE_IPV4 || end - network < ipv4.IPV4_LEN) return DF_CLEAR;
  return ipv4.dontFragment(b, network) ? DF_SET : DF_CLEAR;
}

function innerTos(b: Uint8Array, type: number, network: number, end: number): number {
  if (end - network < ipv4.IPV4_LEN) return 0;
  if (type === ETHERTYPE_IPV4) return ipv4.tos(b, network);
  return type === ETHERTYPE_IPV6 ? ipv6.trafficClass(b, network) : 0;
}
