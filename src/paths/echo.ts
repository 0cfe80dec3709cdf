/**
 * Probing by padded datagrams to the peer's VXLAN port.
 *
 * Another vtepd answers them (`wire/probe.ts`); other VTEPs ignore them. This works even if ICMP is
 * filtered, and the datagrams take the same path as frames. A reply counts only if it has the nonce
 * of the pending request, comes from the probed peer, and reports the length that was sent.
 */

import { randomBytes } from 'node:crypto';
import { ERRNO } from '../abi/errno.js';
import { PROBE_REQUEST, writeProbe } from '../wire/probe.js';
import { UDP_LEN } from '../wire/udp.js';
import { IP_LEN, type Means, type OpenMeans, type ProbedPeer, type SendDatagram } from './means.js';
import { Exchange } from './request.js';
import type { Outcome } from './search.js';

const EMSGSIZE = -ERRNO.EMSGSIZE;
const EPERM = -ERRNO.EPERM;
const ENETUNREACH = -ERRNO.ENETUNREACH;
const EHOSTUNREACH = -ERRNO.EHOSTUNREACH;
const EAFNOSUPPORT = -ERRNO.EAFNOSUPPORT;

export class EchoMeans implements Means {
  readonly name = 'vtepd';
  readonly #send: SendDatagram;
  readonly #asked = new Set<Exchange>();

  constructor(send: SendDatagram) {
    this.#send = send;
  }

  async open(peer: ProbedPeer): Promise<OpenMeans> {
    const exchange = new Exchange();
    this.#asked.add(exchange);
    return {
      probe: (packetLen, patient) => {
        const datagram = new Uint8Array(packetLen - IP_LEN[peer.family] - UDP_LEN);
        const nonce = randomBytes(8);
        const high = nonce.readInt32BE(0);
        const low = nonce.readInt32BE(4);
        writeProbe(datagram, 0, PROBE_REQUEST, peer.vni, datagram.length, high, low);
        const key = keyOf(peer.peerIdx, high, low, datagram.length);
        return exchange.ask(key, patient, () => sendFailure(this.#send(peer, datagram)));
      },
      close: () => void this.#asked.delete(exchange),
    };
  }

  /** Handles a reply from an unverified source; parameters as in `ProbeReplied`. */
  replied(peerIdx: number, nonce: { readonly high: number; readonly low: number }, len: number): void {
    const key = keyOf(peerIdx, nonce.high, nonce.low, len);
    for (const exchange of this.#asked) exchange.complete(key, { kind: 'arrived' });
  }
}

function keyOf(peerIdx: number, high: number, low: number, len: number): string {
  return `${peerIdx} ${high} ${low} ${len}`;
}

/** Converts the status of a send to a probe outcome; undefined when the datagram was sent. */
export function sendFailure(status: number): Outcome | undefined {
  switch (status) {
    case 0:
      return undefined;
    case EMSGSIZE:
      return { kind: 'too-big', mtu: 0 };
    case EPERM:
      return { kind: 'unusable', why: 'a firewall on this machine blocks packets to the peer' };
    case ENETUNREACH:
    case EHOSTUNREACH:
      return { kind: 'unusable', why: 'no route to the peer' };
    case EAFNOSUPPORT:
      return { kind: 'unusable', why: 'no socket of that address family' };
    default:
      return { kind: 'silent' };
  }
}
