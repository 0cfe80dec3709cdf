/**
 * Which headers a datagram had around it, from what the main thread knows of its peer: the peer's address and port, our address on
 * the way there, our port. A datagram of somebody who is no configured peer has zeros where that somebody's address was.
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
  /** The configured peer that a row is of now; undefined: there is none. */
  readonly peerAt: (vniIdx: number, peerIdx: number) => Peer | undefined;
  /** Our address on the way to a peer; undefined: not known. */
  readonly local: (peer: string, family: 4 | 6) => string | undefined;
  /** Ours. */
  readonly port: number;
  /** Of what is sent, where a packet does not say. */
  readonly ttl: number;
}

/** Peers are looked up anew so often, ms: rows are given to others when peers go. */
const KNOWN_MS = 1000;
const NOBODY: Endpoint = { bytes: new Uint8Array(16), port: 0 };

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
    const far = ends?.peer ?? NOBODY;
    const own = ends?.own ?? NOBODY.bytes;
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
  return own?.family === family ? own.bytes : NOBODY.bytes;
}
