/**
 * A hash of the inner headers, from which the outer source port is chosen (RFC 7348 §5), so that routers
 * and network cards spread flows over their paths and queues while one flow keeps one path.
 *
 * | frame                                   | what counts                                  |
 * |-----------------------------------------|----------------------------------------------|
 * | IPv4, IPv6 with TCP, UDP or SCTP        | addresses, protocol, ports                   |
 * | other IP, and every fragment            | addresses, protocol (44 for IPv6 fragments)  |
 * | anything else, and IP that is not sound | MAC addresses, EtherType                     |
 *
 * The first fragment goes without its ports, for the later ones do not have any and must not overtake it. VLAN tags
 * are looked through and don't count.
 *
 * The hash is seeded by a secret and by the VNI. Flows that share a port share a queue of the receiver, so a VM that could
 * compute the port of a flow in another VNI could fill that flow's queue. It cannot, not even with a copy of the
 * flow's headers, as the secret decides how the hashes of two VNIs differ. Within a VNI equal headers have one port. The
 * function is not cryptographic: it is no protection from an observer of the underlay, who sees the ports anyway.
 */
import {
  DST_OFF,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_MIN,
  networkEtherType,
  SRC_OFF,
} from './ethernet.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import { macHigh, macLow } from './mac.js';

/** Source and destination port, first in TCP, UDP and SCTP alike. */
const PORTS_LEN = 4;

/**
 * Seed of one VNI's flows.
 *
 * @param secret random 32-bit integer, the same in all workers: a flow keeps its port whichever worker sends it
 * @returns int32
 */
export function flowSeed(secret: number, vni: number): number {
  return finish(mix(secret, vni));
}

/**
 * @param off where the Ethernet header begins.
 * @param network where its network header begins (`networkOffset`), -1 for nowhere: the forwarding knows it already.
 * @param end offset just behind the frame; nothing from there on is read.
 * @param seed from `flowSeed`.
 * @returns int32, the same for all frames of a flow; 0 for what is too short to have addresses. Not a uint32: a
 *   call that is not inlined would box every value above 2^31, an allocation for every other frame
 */
export function flowHash(b: Uint8Array, off: number, network: number, end: number, seed: number): number {
  if (network < 0) return 0;
  const type = networkEtherType(b, network);
  if (type === ETHERTYPE_IPV4 && ipv4.check(b, network, end)) return hashIpv4(b, network, seed);
  if (type === ETHERTYPE_IPV6 && ipv6.check(b, network, end)) return hashIpv6(b, network, seed);
  return hashMacs(b, off, type, seed);
}

function hashIpv4(b: Uint8Array, ip: number, seed: number): number {
  const protocol = ipv4.protocol(b, ip);
  let hash = mix(seed ^ protocol, word(b, ip + ipv4.SOURCE_OFF));
  hash = mix(hash, word(b, ip + ipv4.DESTINATION_OFF));
  if (ipv4.isFragment(b, ip)) return finish(hash);
  return finish(mixPorts(hash, b, protocol, ip + ipv4.headerLen(b, ip), ip + ipv4.totalLen(b, ip)));
}

function hashIpv6(b: Uint8Array, ip: number, seed: number): number {
  const end = ip + ipv6.IPV6_LEN + ipv6.payloadLen(b, ip);
  const found = ipv6.transport(b, ip, end);
  const protocol = found < 0 ? 0 : ipv6.transportProtocol(found);
  let hash = seed ^ protocol;
  for (let at = ip + ipv6.SOURCE_OFF; at < ip + ipv6.IPV6_LEN; at += 4) hash = mix(hash, word(b, at));
  return finish(mixPorts(hash, b, protocol, ip + ipv6.transportOffset(found), end));
}

/** An 802.3 length in place of the type differs from frame to frame: it does not count. */
function hashMacs(b: Uint8Array, off: number, type: number, seed: number): number {
  let hash = mix(seed ^ (type < ETHERTYPE_MIN ? 0 : type), macLow(b, off + DST_OFF));
  hash = mix(hash, macLow(b, off + SRC_OFF));
  return finish(mix(hash, (macHigh(b, off + DST_OFF) << 16) | macHigh(b, off + SRC_OFF)));
}

function mixPorts(hash: number, b: Uint8Array, protocol: number, at: number, end: number): number {
  const hasPorts =
    protocol === ipv4.PROTOCOL_TCP || protocol === ipv4.PROTOCOL_UDP || protocol === ipv4.PROTOCOL_SCTP;
  return hasPorts && end - at >= PORTS_LEN ? mix(hash, word(b, at)) : hash;
}

function word(b: Uint8Array, at: number): number {
  return (b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3];
}

/** One round of MurmurHash3 (Appleby, public domain), x86 32-bit. */
function mix(hash: number, value: number): number {
  let k = Math.imul(value, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** Its finalizer: spreads every input bit over all output bits, as the caller takes the lowest only. */
function finish(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
