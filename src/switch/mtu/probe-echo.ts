/**
 * Responder for path probes of other vtepd (`wire/probe.ts`).
 *
 * Answers requests of other vtepd. A reply to a probe of this vtepd is passed to the main thread.
 * Probes have the I flag clear: decap passes datagrams here that it would otherwise drop as
 * invalid_hdr.
 *
 * Only configured peers of the VNI that the probe names are answered, at their configured address
 * and port, so that a probe cannot direct traffic to third parties. A reply is smaller than its
 * request, and replies are rate-limited. Probes that `handle` rejects are dropped and counted as
 * `invalid_hdr`. The requester validates replies by their nonce.
 */

import { Batch, DF_CLEAR, DF_SET } from '../../abi/batch.js';
import { MAX_PEERS } from '../../abi/limits.js';
import { isArpReply, PROBE_MAC_HIGH } from '../../wire/arp.js';
import { macHigh, macLow } from '../../wire/mac.js';
import {
  isProbe,
  isQuestion,
  nonceHigh,
  nonceLow,
  PROBE_LEN,
  probedLen,
  probeKind,
  probeVni,
  writeProbe,
} from '../../wire/probe.js';
import type { Tables } from '../fdb/tables.js';
import { TICKS_PER_SECOND } from '../fdb/vni-table.js';
import type { OuterOptions } from '../frame/outer-header.js';
import type { UnderlayPort } from '../port/port.js';

/**
 * Callback for a reply: the peer's row, the nonce in two int32, and the UDP payload bytes that
 * arrived at the peer. For an ARP reply the nonce is the source MAC of the request, and the length
 * is 0.
 */
export type ProbeReplied = (peerIdx: number, high: number, low: number, len: number) => void;

/**
 * Probes of one peer per second. A search for the path MTU sends about thirty probes, without
 * pauses on a short path.
 */
const PER_SECOND = 64;

export interface ProbeEchoOptions {
  /** DF policy, which determines the socket for replies. */
  readonly df: OuterOptions['df'];
  readonly probeReplied: ProbeReplied;
}

export class ProbeEcho {
  readonly #tables: Tables;
  readonly #underlay: UnderlayPort;
  readonly #replied: ProbeReplied;
  readonly #reply = new Uint8Array(PROBE_LEN);
  readonly #out = new Batch();
  readonly #probes = new Budgets();
  /** ARP replies have their own limit, as VMs can send them. */
  readonly #replies = new Budgets();

  constructor(tables: Tables, underlay: UnderlayPort, { df, probeReplied }: ProbeEchoOptions) {
    this.#tables = tables;
    this.#underlay = underlay;
    this.#replied = probeReplied;
    this.#out.df[0] = df === 'unset' ? DF_CLEAR : DF_SET;
  }

  /**
   * Handles a datagram without I flag.
   *
   * @param b bytes of the datagram from `off` on, of any length and content
   * @param sources source rows @param row row of the sender
   * @param tick time now, tenths of a second
   * @returns true when the datagram was a probe of a configured peer within the rate limit
   */
  handle(b: Uint8Array, off: number, len: number, sources: Int32Array, row: number, tick: number): boolean {
    if (!isProbe(b, off, len)) return false;
    const { vnis, peers } = this.#tables;
    const vniIdx = vnis.find(probeVni(b, off));
    if (vniIdx < 0) return false;
    const peerIdx = peers.findSource(vniIdx, sources, row);
    if (peerIdx < 0 || !peers.isConfigured(peerIdx, vniIdx) || !this.#probes.take(peerIdx, tick))
      return false;
    if (isQuestion(probeKind(b, off))) this.#answer(b, off, vniIdx, peerIdx);
    else this.#replied(peerIdx, nonceHigh(b, off), nonceLow(b, off), probedLen(b, off));
    return true;
  }

  /**
   * Passes an ARP reply to a probe to the main thread. The frame is delivered as well.
   */
  receive(b: Uint8Array, off: number, len: number, peerIdx: number, tick: number): void {
    const high = macHigh(b, off);
    if (high !== PROBE_MAC_HIGH || !isArpReply(b, off, len) || !this.#replies.take(peerIdx, tick)) return;
    this.#replied(peerIdx, high, macLow(b, off), 0);
  }

  /** Sends a reply. Its segCount is 0, so that a completion reported later counts as no frame. */
  #answer(b: Uint8Array, off: number, vniIdx: number, peerIdx: number): void {
    const out = this.#out;
    const vni = probeVni(b, off);
    const kind = probeKind(b, off) + 1;
    writeProbe(this.#reply, 0, kind, vni, probedLen(b, off), nonceHigh(b, off), nonceLow(b, off));
    out.count = 1;
    out.len[0] = PROBE_LEN;
    out.vniIdx[0] = vniIdx;
    out.peerIdx[0] = peerIdx;
    this.#underlay.send(out, this.#reply);
  }
}

/** Rate limit of PER_SECOND for each peer row. */
class Budgets {
  readonly #second = new Int32Array(MAX_PEERS);
  readonly #spent = new Uint8Array(MAX_PEERS);

  take(peerIdx: number, tick: number): boolean {
    const second = (tick / TICKS_PER_SECOND) | 0;
    if (this.#second[peerIdx] !== second) {
      this.#second[peerIdx] = second;
      this.#spent[peerIdx] = 0;
    }
    if (this.#spent[peerIdx] === PER_SECOND) return false;
    this.#spent[peerIdx]++;
    return true;
  }
}
