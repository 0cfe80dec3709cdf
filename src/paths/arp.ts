/**
 * Probing by padded ARP requests inside VXLAN, to a host behind the peer.
 *
 * Any VTEP delivers the request, including kernel vxlan, and the host replies as to any other ARP
 * request. This works even if ICMP is filtered and the peer is not a vtepd.
 *
 * This means requires a host whose MAC was learned from the peer and whose IPv4 address is in the
 * neighbour table of this machine. Without such a host the means is unavailable. The result is the
 * path MTU to that host, so a narrower device behind the peer lowers the result.
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

/**
 * @returns the host behind the peer to which ARP requests are sent; undefined when none is known
 */
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
      throw new MeansUnavailable('no host behind the peer is known by MAC and IPv4 address');
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

  /** Handles an ARP reply to a probe MAC, received from a peer. */
  replied(peerIdx: number, mac: { readonly high: number; readonly low: number }): void {
    if (mac.high !== PROBE_MAC_HIGH) return;
    for (const exchange of this.#asked) exchange.complete(keyOf(peerIdx, mac.low), { kind: 'arrived' });
  }
}

function keyOf(peerIdx: number, low: number): string {
  return `${peerIdx} ${low}`;
}
