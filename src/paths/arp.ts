/**
 * By an ARP request inside VXLAN, padded, to a host that lives behind the peer: any VTEP delivers it, kernel vxlan as
 * well, and the host answers without knowing that it measures a path. For where ICMP is filtered and the peer is no vtepd.
 *
 * Needs a host whose MAC was learned behind the peer and whose IPv4 address this machine knows as a neighbour; without
 * one it is unavailable. What it finds is the way to that host: a device behind the peer that is narrower than the path
 * counts as well.
 */
import { randomBytes } from 'node:crypto';
import { PROBE_MAC_HIGH, writeArpProbe } from '../wire/arp.js';
import { UDP_LEN } from '../wire/udp.js';
import { VXLAN_LEN, writeVxlanHeader } from '../wire/vxlan.js';
import { sendFailure } from './echo.js';
import {
  IP_LEN,
  type Means,
  MeansUnavailable,
  type OpenMeans,
  type ProbedPeer,
  type SendDatagram,
} from './means.js';
import { Exchange } from './request.js';

/** A host of the overlay. */
export interface LearnedHost {
  readonly mac: { readonly high: number; readonly low: number };
  /** Four bytes. */
  readonly ip: Uint8Array;
}

/** @returns a host behind the peer that ARP can ask; undefined: none is known */
export type FindHost = (peer: ProbedPeer) => Promise<LearnedHost | undefined>;

export class ArpMeans implements Means {
  readonly name = 'arp';
  readonly #send: SendDatagram;
  readonly #findHost: FindHost;
  readonly #asked = new Set<Exchange>();

  constructor(send: SendDatagram, findHost: FindHost) {
    this.#send = send;
    this.#findHost = findHost;
  }

  async open(peer: ProbedPeer): Promise<OpenMeans> {
    const host = await this.#findHost(peer).catch(() => undefined);
    if (host === undefined)
      throw new MeansUnavailable('no host is known behind the peer by MAC and IPv4 address');
    const exchange = new Exchange();
    this.#asked.add(exchange);
    return {
      probe: (packetLen, patient) => {
        const datagram = new Uint8Array(packetLen - IP_LEN[peer.family] - UDP_LEN);
        const low = randomBytes(4).readInt32BE(0);
        writeVxlanHeader(datagram, 0, peer.vni);
        writeArpProbe(datagram, VXLAN_LEN, low, host.mac, host.ip);
        return exchange.ask(keyOf(peer.peerIdx, low), patient, () => sendFailure(this.#send(peer, datagram)));
      },
      close: () => void this.#asked.delete(exchange),
    };
  }

  /** An ARP reply to a MAC of probes has come through a peer. */
  replied(peerIdx: number, mac: { readonly high: number; readonly low: number }): void {
    if (mac.high !== PROBE_MAC_HIGH) return;
    for (const exchange of this.#asked) exchange.complete(keyOf(peerIdx, mac.low), { kind: 'arrived' });
  }
}

function keyOf(peerIdx: number, low: number): string {
  return `${peerIdx} ${low}`;
}
