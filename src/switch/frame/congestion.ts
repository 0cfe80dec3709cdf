/**
 * ECN at decapsulation (RFC 6040 §4.2).
 *
 * The ECN field of a received datagram's outer header changes the ECN field of the inner packet, or
 * causes the packet to be dropped. The table is in `wire/ecn.ts`. Decap calls this module only for
 * datagrams whose outer field can change the inner packet: ECT(1) and CE, the two code points with
 * the lowest bit set.
 */
import { DROP } from '../../exchange/drop-reason.js';
import { decapsulatedEcn, ECN_DROP, ECN_MASK, setIpv4Ecn, setIpv6Ecn } from '../../wire/ecn.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, networkEtherType } from '../../wire/ethernet.js';
import * as ipv4 from '../../wire/ipv4.js';
import * as ipv6 from '../../wire/ipv6.js';

/** True when the outer field leaves every inner field unchanged. */
export function leavesEcn(outerTos: number): boolean {
  return (outerTos & 1) === 0;
}

/**
 * Rewrites the ECN field of the inner header. A frame without IP or with a broken header passes
 * unchanged.
 *
 * @param network offset of the network header; −1 when there is none
 * @param end end of the frame
 * @returns 0 or the drop reason
 */
export function applyOuterEcn(b: Uint8Array, network: number, end: number, outerTos: number): number {
  if (network < 0) return 0;
  const type = networkEtherType(b, network);
  const outer = outerTos & ECN_MASK;
  if (type === ETHERTYPE_IPV4 && ipv4.check(b, network, end)) {
    const ecn = decapsulatedEcn(ipv4.tos(b, network) & ECN_MASK, outer);
    if (ecn === ECN_DROP) return DROP.ip_tunnel_ecn;
    setIpv4Ecn(b, network, ecn);
  } else if (type === ETHERTYPE_IPV6 && ipv6.check(b, network, end)) {
    const ecn = decapsulatedEcn(ipv6.trafficClass(b, network) & ECN_MASK, outer);
    if (ecn === ECN_DROP) return DROP.ip_tunnel_ecn;
    setIpv6Ecn(b, network, ecn);
  }
  return 0;
}
