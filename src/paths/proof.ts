/**
 * Proofs that a peer is a vtepd.
 *
 * Trains from a proved peer may arrive whole, because a vtepd splits every inner UDP superframe. A
 * peer is proved when it replied to a nonce within the last minute (`wire/probe.ts`,
 * PROBE_IDENTIFY). Other programs do not reply, and only the receiver of the request knows the
 * nonce.
 *
 * An unproved peer gets requests at growing intervals, a proved one every 15 s. After three
 * requests without a reply the peer is unproved again, because another VTEP may have its address. A
 * peer replies only in VNIs that it has itself: if it has not replied in one VNI, the next request
 * uses the next VNI. The caller passes in the time.
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
/** Number of requests without a reply that ends a proof. */
const MISSES = 3;
/** Age of the last reply that ends a proof, ms. */
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
   * Returns a lower bound for the VNI of the next request. Of the VNIs that have this address as a
   * peer, the caller uses the lowest VNI above the bound, or the lowest of all if none is above.
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
   * @param peers all peers, each address once, in the VNI chosen with `askBehind`
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
   * @returns address of a newly proved peer; undefined when the reply proves none
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
