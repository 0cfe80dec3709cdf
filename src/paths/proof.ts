/**
 * Proofs that a peer is a vtepd.
 *
 * It is safe to receive the trains of a proved peer whole (`UDP_GRO`), because a vtepd splits every
 * inner UDP superframe before sending. An unsplit inner superframe would look like a train whose
 * segment size a VM has chosen. A peer is proved when it replied to a request with a nonce within
 * the last minute (`wire/probe.ts`, PROBE_IDENTIFY). VTEPs other than vtepd do not reply, and only
 * the receiver of the request knows the nonce.
 *
 * An unproved peer gets requests at growing intervals, a proved peer every 15 s. After three
 * requests without a reply the peer is unproved again, because another VTEP possibly has the
 * address now. A peer replies only in VNIs that are configured at the peer. After a request without
 * a reply, the next request is therefore sent in the next VNI. The caller passes in the time.
 */
import { randomBytes } from 'node:crypto';
import { PROBE_IDENTIFY, PROBE_LEN, writeProbe } from '../wire/probe.js';
import type { ProbedPeer, SendDatagram } from './means.js';

/** Interval of requests to a peer that has replied, ms. */
const AGAIN_MS = 15_000;
/**
 * Interval of the first requests to a peer, ms. From the third request without a reply on, each
 * request doubles the interval, up to LONGEST_MS.
 */
const FIRST_MS = 1_000;
/** Longest interval of requests to a peer that does not reply, ms. */
const LONGEST_MS = 60_000;
/** Number of successive requests without a reply after which a proof ends. */
const MISSES = 3;
/** Age of the last reply at which a proof ends, ms. */
const VALID_MS = 60_000;
/** Maximum number of requests per check. */
const AT_ONCE = 512;

/** State of one address and port. */
interface Record {
  /** Recipient of the last request: the address as a peer of one VNI. */
  asked: ProbedPeer;
  /** First four bytes of the nonce of the last request, int32. */
  high: number;
  /** Last four bytes of the nonce, int32. */
  low: number;
  pending: boolean;
  nextMs: number;
  intervalMs: number;
  misses: number;
  /** Time of the last reply, ms; −Infinity when there was none. */
  provedMs: number;
}

export class Proofs {
  readonly #send: SendDatagram;
  readonly #records = new Map<string, Record>();
  /** Records of the peers to which a request was sent, indexed by peer row. */
  readonly #asked = new Map<number, Record>();
  #nowMs = 0;

  constructor(send: SendDatagram) {
    this.#send = send;
  }

  /**
   * Returns a lower bound for the VNI of the next request. The bound itself is excluded. The caller
   * considers the VNIs in which this address is a peer, and chooses the lowest VNI that is greater
   * than the bound. If no VNI is greater, the caller chooses the lowest VNI.
   *
   * @returns a VNI, or −1 for an unknown address
   */
  askBehind(text: string): number {
    const record = this.#records.get(text);
    if (record === undefined) return -1;
    return record.pending ? record.asked.vni : record.asked.vni - 1;
  }

  /**
   * Sends the requests that are due. Call about once a second.
   *
   * @param peers one element for each address of a peer, in the VNI chosen with `askBehind`
   * @param nowMs monotonic time, ms
   */
  check(peers: readonly ProbedPeer[], nowMs: number): void {
    this.#nowMs = nowMs;
    const present = new Set<string>();
    let asked = 0;
    for (const peer of peers) {
      present.add(peer.text);
      const record = this.#recordOf(peer, nowMs);
      if (nowMs < record.nextMs || asked === AT_ONCE) continue;
      asked++;
      this.#ask(record, peer, nowMs);
    }
    for (const text of this.#records.keys()) if (!present.has(text)) this.#records.delete(text);
    for (const [row, record] of this.#asked)
      if (record.asked.peerIdx !== row || this.#records.get(record.asked.text) !== record)
        this.#asked.delete(row);
  }

  /**
   * Handles a reply from an unverified source; parameters as in `ProbeReplied`.
   *
   * @returns address of a newly proved peer; undefined when the reply proves no further peer
   */
  replied(
    peerIdx: number,
    nonce: { readonly high: number; readonly low: number },
    len: number,
  ): string | undefined {
    if (len !== PROBE_LEN) return undefined;
    const record = this.#asked.get(peerIdx);
    if (!record?.pending || record.high !== nonce.high || record.low !== nonce.low) return undefined;
    const isNew = !this.isProved(record.asked.text);
    Object.assign(record, { pending: false, misses: 0, provedMs: this.#nowMs, intervalMs: AGAIN_MS });
    record.nextMs = this.#nowMs + AGAIN_MS;
    return isNew ? record.asked.text : undefined;
  }

  isProved(text: string): boolean {
    const record = this.#records.get(text);
    return record !== undefined && record.misses < MISSES && this.#nowMs - record.provedMs < VALID_MS;
  }

  #recordOf(peer: ProbedPeer, nowMs: number): Record {
    const known = this.#records.get(peer.text);
    if (known?.asked.port === peer.port) return known;
    const record: Record = {
      asked: peer,
      high: 0,
      low: 0,
      pending: false,
      nextMs: nowMs,
      intervalMs: FIRST_MS,
      misses: 0,
      provedMs: Number.NEGATIVE_INFINITY,
    };
    this.#records.set(peer.text, record);
    return record;
  }

  #ask(record: Record, peer: ProbedPeer, nowMs: number): void {
    if (record.pending) record.misses++;
    if (record.pending && record.misses >= MISSES)
      record.intervalMs = Math.min(LONGEST_MS, record.intervalMs * 2);
    const nonce = randomBytes(8);
    record.high = nonce.readInt32BE(0);
    record.low = nonce.readInt32BE(4);
    record.pending = true;
    record.asked = peer;
    this.#asked.set(peer.peerIdx, record);
    record.nextMs = nowMs + record.intervalMs;
    const datagram = new Uint8Array(PROBE_LEN);
    writeProbe(datagram, 0, PROBE_IDENTIFY, peer.vni, PROBE_LEN, record.high, record.low);
    this.#send(peer, datagram);
  }
}
