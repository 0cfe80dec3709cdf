/**
 * Hash of the inner headers that selects the outer source port (RFC 7348 §5).
 *
 * Routers and network cards use that port to spread flows over paths and queues, while each flow
 * keeps one path.
 *
 * | frame                             | hashed fields                                |
 * |-----------------------------------|----------------------------------------------|
 * | IPv4, IPv6 with TCP, UDP or SCTP  | addresses, protocol, ports                   |
 * | other IP, and every fragment      | addresses, protocol (44 for IPv6 fragments)  |
 * | all other frames, and invalid IP  | MAC addresses, EtherType                     |
 *
 * The ports of a first fragment are not hashed. Later fragments have no ports, and all fragments of
 * a datagram must take the same path so that they are not reordered. VLAN tags are skipped and not
 * hashed.
 *
 * A secret and the VNI seed the hash. Flows with the same port share a queue of the receiver, so a
 * VM that could compute the port of a flow in another VNI could fill that flow's queue. A VM cannot
 * compute that port, even with a copy of the flow's headers, because the secret determines how the
 * hashes of two VNIs differ. Within a VNI, equal headers have equal ports. The function is not
 * cryptographic; an observer of the underlay sees the ports anyway.
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

/** Bytes of source and destination port, which come first in TCP, UDP and SCTP. */
const PORTS_LEN = 4;

/**
 * Returns the hash seed of one VNI.
 *
 * @param secret random 32-bit integer, the same in all workers, so that every worker computes the
 *   same port for a flow
 * @returns int32
 */
export function flowSeed(secret: number, vni: number): number {
  return finish(mix(secret, vni));
}

/**
 * Hash of one frame.
 *
 * @param off offset of the Ethernet header
 * @param network offset of the network header, as `networkOffset` returned it; -1: none
 * @param end offset just behind the frame; no byte from there on is read
 * @param seed result of `flowSeed`
 * @returns int32, equal for all frames of a flow; 0 for a frame too short to have addresses. The
 *   type is not uint32, because a call that is not inlined would box values from 2^31 on, which is
 *   an allocation for half of the frames
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

/**
 * Hashes the MAC addresses and the EtherType. An 802.3 length is not hashed, because it varies
 * within a flow.
 */
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

/**
 * MurmurHash3 finalizer: spreads every input bit over all bits, because the caller uses only the
 * lowest bits.
 */
function finish(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
