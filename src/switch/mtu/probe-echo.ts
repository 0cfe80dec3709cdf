/**
 * Path probes of other vtepd are answered here, and answers to ours handed on (`wire/probe.ts`). They come with the
 * I flag clear: Decap gives what it would have dropped as invalid_hdr.
 *
 * Who is answered: configured peers of the VNI that the probe names, at their configured address and port, so nobody
 * else can be made to receive anything; with less than came; no more often than a search needs. What is not answered
 * is dropped and counted as before. Whether a reply is one to a question of ours is for the asker to say: he has the nonce.
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
 * Takes a reply: the peer's row, the nonce in two int32, and the UDP payload bytes that arrived there. Of an ARP reply
 * the nonce is the MAC that asked, and the length 0.
 */
export type ProbeReplied = (peerIdx: number, high: number, low: number, len: number) => void;

/** Probes of one peer in a second. A search sends some thirty; on a short path they follow each other at once. */
const PER_SECOND = 64;

export interface ProbeEchoOptions {
  /** Which sockets there are to answer through. */
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
  /** ARP replies have a limit of their own, as VMs can send them. */
  readonly #replies = new Budgets();

  constructor(tables: Tables, underlay: UnderlayPort, { df, probeReplied }: ProbeEchoOptions) {
    this.#tables = tables;
    this.#underlay = underlay;
    this.#replied = probeReplied;
    this.#out.df[0] = df === 'unset' ? DF_CLEAR : DF_SET;
  }

  /**
   * @param b the datagram's bytes, from off, of any length and content @param sources, row who sent it
   * @param tick now in tenths of a second
   * @returns true: it was a probe, and has been dealt with
   */
  take(b: Uint8Array, off: number, len: number, sources: Int32Array, row: number, tick: number): boolean {
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

  /** An ARP frame of a peer: whether it answers a probe that was ARP itself. It goes on its way all the same. */
  receive(b: Uint8Array, off: number, len: number, peerIdx: number, tick: number): void {
    const high = macHigh(b, off);
    if (high !== PROBE_MAC_HIGH || !isArpReply(b, off, len) || !this.#replies.take(peerIdx, tick)) return;
    this.#replied(peerIdx, high, macLow(b, off), 0);
  }

  /** It stands for no frame (segCount 0), so that an answer which comes later by `completions` counts nothing. */
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
