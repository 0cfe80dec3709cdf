/**
 * A means of probing: some packet that a peer, or a host behind it, answers without knowing that it measures a path.
 * Each is opened for one search on one peer and closed after it. Their order is the caller's.
 */
import type { Probe } from './search.js';

/** Whom a search is about. */
export interface ProbedPeer {
  readonly vni: number;
  /** Row that the data plane names the peer by. */
  readonly peerIdx: number;
  /** Canonical, with `%scope` where there is one. */
  readonly text: string;
  readonly family: 4 | 6;
  /** 16 bytes, IPv4 in the first four. */
  readonly bytes: Uint8Array;
  readonly port: number;
  readonly scopeId: number;
}

export type MeansName = 'icmp' | 'vtepd' | 'arp';

export interface Means {
  readonly name: MeansName;
  /** @throws MeansUnavailable */
  open(peer: ProbedPeer): Promise<OpenMeans>;
}

export interface OpenMeans {
  readonly probe: Probe;
  close(): void;
}

/** This means cannot be tried on this peer: one line that says why. */
export class MeansUnavailable extends Error {}

/** IP header of the outer packet, bytes. */
export const IP_LEN = { 4: 20, 6: 40 } as const;

/** Sends one UDP datagram with DF set to a peer's VXLAN port. @returns 0 or a negative errno */
export type SendDatagram = (peer: ProbedPeer, datagram: Uint8Array) => number;
