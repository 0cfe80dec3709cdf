/**
 * Interface of a means of probing a path.
 *
 * A means sends packets to which the peer, or a host behind the peer, replies. The replying host
 * needs no knowledge of the search. A means is opened for one search on one peer and closed
 * afterwards. The caller decides the order of the means.
 */
import type { Probe } from './search.js';

/** The peer whose path is searched. */
export interface ProbedPeer {
  readonly vni: number;
  /** Index of the peer in the data plane. */
  readonly peerIdx: number;
  /** Address in canonical form, with `%scope` if it has one. */
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

/** This means cannot be used on this peer; the message is one line with the cause. */
export class MeansUnavailable extends Error {}

/** Length of the outer IP header, bytes. */
export const IP_LEN = { 4: 20, 6: 40 } as const;

/** Sends one UDP datagram to a peer's VXLAN port, with DF set. @returns 0 or a negative errno */
export type SendDatagram = (peer: ProbedPeer, datagram: Uint8Array) => number;
