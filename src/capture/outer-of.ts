/**
 * Determines the outer header of a captured datagram from the configuration of its peer.
 *
 * The header has the address and port of the peer, the local address of the route to the peer, and
 * the local port. The address of a source that is not a configured peer is recorded as zeros.
 */

import type { Captured } from '../exchange/capture-ring.js';
import { type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import type { Endpoint, OuterHeader } from './outer-headers.js';

export interface Peer {
  readonly address: {
    readonly text: string;
    readonly family: 4 | 6;
    readonly bytes: Uint8Array;
    readonly port: number;
  };
}

export interface Surroundings {
  /** Returns the configured peer of a row; undefined when there is none. */
  readonly peerAt: (vniIdx: number, peerIdx: number) => Peer | undefined;
  /** Returns the local address of the route to a peer; undefined when unknown. */
  readonly local: (peer: string, family: 4 | 6) => string | undefined;
  /** Local VXLAN port. */
  readonly port: number;
  /** TTL recorded for sent datagrams; received datagrams get 0, because their TTL is unknown. */
  readonly ttl: number;
}

/**
 * Time until cached peers are looked up again, ms; needed because rows of removed peers are reused.
 */
const KNOWN_MS = 1000;
const UNKNOWN: Endpoint = { bytes: new Uint8Array(16), port: 0 };

export function outerOf({ peerAt, local, port, ttl }: Surroundings): (packet: Captured) => OuterHeader {
  const known = new Map<number, Known | undefined>();
  let sinceMs = 0;
  const endsOf = ({ atMs, vniIdx, peerIdx }: Captured): Known | undefined => {
    if (atMs - sinceMs > KNOWN_MS) {
      known.clear();
      sinceMs = atMs;
    }
    if (!known.has(peerIdx)) {
      const peer = peerAt(vniIdx, peerIdx);
      known.set(peerIdx, peer && { peer: peer.address, own: ownBytes(peer, local) });
    }
    return known.get(peerIdx);
  };
  return (packet) => {
    const { received, sourcePort, tos } = packet;
    const ends = endsOf(packet);
    const family = ends?.peer.family ?? 4;
    const far = ends?.peer ?? UNKNOWN;
    const own = ends?.own ?? UNKNOWN.bytes;
    const source = { bytes: received ? far.bytes : own, port: sourcePort };
    const destination = { bytes: received ? own : far.bytes, port: received ? port : far.port };
    return { family, source, destination, tos, ttl: received ? 0 : ttl };
  };
}

interface Known {
  readonly peer: Peer['address'];
  readonly own: Uint8Array;
}

function ownBytes({ address: { text, family } }: Peer, local: Surroundings['local']): Uint8Array {
  const own: IpAddress | undefined = parseIpAddress(local(text, family) ?? '');
  return own?.family === family ? own.bytes : UNKNOWN.bytes;
}
