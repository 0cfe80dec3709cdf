/**
 * Proofs that a peer is a vtepd which never sends an inner UDP superframe uncut: it answered a nonce of ours within the last
 * minute (`wire/probe.ts`, PROBE_IDENTIFY). Other programs do not answer, and only a receiver of the question knows the nonce.
 *
 * An unproved peer is asked at growing intervals, a proved one every 15 s; after three questions without an answer it is
 * unproved again, as another VTEP may have taken its address. A peer answers in VNIs that it has itself: who has not answered in
 * one is asked in the next. Has no clock and no timer.
 */
import { randomBytes } from 'node:crypto';
import { PROBE_IDENTIFY, PROBE_LEN, writeProbe } from '../wire/probe.js';
import type { ProbedPeer, SendDatagram } from './means.js';

/** Between questions to a peer that has answered, ms. */
const AGAIN_MS = 15_000;
/** Between the first questions to one that has not, ms; doubled each time, up to LONGEST_MS. */
const FIRST_MS = 1_000;
const LONGEST_MS = 60_000;
/** Questions without an answer, and age of the last answer, that end a proof. */
const MISSES = 3;
const VALID_MS = 60_000;
/** Questions in one look. */
const AT_ONCE = 512;

/** Of an address and port. */
interface Record {
  /** Recipient of the last question: the address as a peer of one VNI. */
  asked: ProbedPeer;
  /** Nonce of the question that waits. */
  high: number;
  low: number;
  waits: boolean;
  nextMs: number;
  intervalMs: number;
  misses: number;
  /** When it answered last, ms; −Infinity: it has not. */
  provedMs: number;
}

export class Proofs {
  readonly #send: SendDatagram;
  readonly #records = new Map<string, Record>();
  /** The record of each row that a question was sent to. */
  readonly #asked = new Map<number, Record>();
  #nowMs = 0;

  constructor(send: SendDatagram) {
    this.#send = send;
  }

  /**
   * Selects the VNI of the next question to an address: the lowest above the result that has it as a peer, else the lowest.
   * @returns a VNI, or −1
   */
  askBehind(text: string): number {
    const record = this.#records.get(text);
    if (record === undefined) return -1;
    return record.waits ? record.asked.vni : record.asked.vni - 1;
  }

  /**
   * Sends the questions that are due. To be called about once a second.
   *
   * @param peers all that there are, each address once, in the VNI that `askBehind` says @param nowMs a clock that only goes forward
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
   * Handles an answer from an unverified source: the arguments of `ProbeReplied`.
   * @returns address of the peer that it proves and that was unproved; undefined: none
   */
  replied(
    peerIdx: number,
    nonce: { readonly high: number; readonly low: number },
    len: number,
  ): string | undefined {
    if (len !== PROBE_LEN) return undefined;
    const record = this.#asked.get(peerIdx);
    if (!record?.waits || record.high !== nonce.high || record.low !== nonce.low) return undefined;
    const isNew = !this.isProved(record.asked.text);
    Object.assign(record, { waits: false, misses: 0, provedMs: this.#nowMs, intervalMs: AGAIN_MS });
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
      waits: false,
      nextMs: nowMs,
      intervalMs: FIRST_MS,
      misses: 0,
      provedMs: Number.NEGATIVE_INFINITY,
    };
    this.#records.set(peer.text, record);
    return record;
  }

  #ask(record: Record, peer: ProbedPeer, nowMs: number): void {
    if (record.waits) record.misses++;
    if (record.waits && record.misses >= MISSES)
      record.intervalMs = Math.min(LONGEST_MS, record.intervalMs * 2);
    const nonce = randomBytes(8);
    record.high = nonce.readInt32BE(0);
    record.low = nonce.readInt32BE(4);
    record.waits = true;
    record.asked = peer;
    this.#asked.set(peer.peerIdx, record);
    record.nextMs = nowMs + record.intervalMs;
    const datagram = new Uint8Array(PROBE_LEN);
    writeProbe(datagram, 0, PROBE_IDENTIFY, peer.vni, PROBE_LEN, record.high, record.low);
    this.#send(peer, datagram);
  }
}
