/**
 * Detects peers that use a MAC of this VTEP.
 *
 * Clones of one machine derive equal MACs if they have equal underlay addresses, for example behind
 * NAT, or if the state file was copied. Hosts with equal MACs do not reach each other. Frames with
 * our MAC also come from a peer that returns what it received. The data plane records the last peer
 * of each VNI that sent such a frame; this module reads the record periodically.
 */
import { V_TWIN_FRAMES, V_TWIN_PEER } from '../exchange/counters.js';
import type { DataPlane, VniState } from '../exchange/data-plane.js';
import type { Report } from '../exchange/report.js';
import type { Reports } from './reports.js';

/** Period of checks, ms. */
const CHECK_MS = 2000;
/** Time without such a frame after which the warning ends, ms. */
const LAPSE_MS = 60_000;
/** Subject of frames whose source is no configured peer. */
const OTHERS = '';

export interface TwinsOptions {
  readonly dataPlane: Pick<DataPlane, 'vnis' | 'peers' | 'totals'>;
  readonly reports: Pick<Reports, 'set'>;
}

export class Twins {
  readonly #options: TwinsOptions;
  /** Frames of each VNI at the last check. */
  #frames = new Map<number, number>();
  /** Address of a twin → the VNI of its frames → time of the last check that found one, ms. */
  readonly #found = new Map<string, Map<number, number>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TwinsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.check(performance.now()), CHECK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** @param nowMs monotonic time, ms */
  check(nowMs: number): void {
    const { dataPlane } = this.#options;
    const frames = new Map<number, number>();
    for (const { vni } of dataPlane.vnis()) {
      const { vni: row } = dataPlane.totals(vni);
      frames.set(vni, row[V_TWIN_FRAMES]);
      // A VNI that was removed and added again counts from 0.
      if (row[V_TWIN_FRAMES] > 0 && row[V_TWIN_FRAMES] !== this.#frames.get(vni))
        this.#note(vni, row[V_TWIN_PEER] - 1, nowMs);
    }
    this.#frames = frames;
    if (this.#found.size > 0) this.#report(nowMs);
  }

  #note(vni: number, peerIdx: number, nowMs: number): void {
    const peer = this.#options.dataPlane.peers(vni).find((other) => other.peerIdx === peerIdx);
    const address = peer?.address.text ?? OTHERS;
    const vnis = this.#found.get(address) ?? new Map<number, number>();
    this.#found.set(address, vnis.set(vni, nowMs));
  }

  #report(nowMs: number): void {
    const { dataPlane, reports } = this.#options;
    const states = new Map(dataPlane.vnis().map((state) => [state.vni, state]));
    for (const [address, vnis] of this.#found) {
      for (const [vni, seenMs] of vnis) if (nowMs - seenMs >= LAPSE_MS || !states.has(vni)) vnis.delete(vni);
      if (vnis.size === 0) this.#found.delete(address);
      const [vni = -1] = [...vnis.keys()].sort((a, b) => a - b);
      const state = states.get(vni);
      reports.set('twin', address, state && textsOf(address, state, vnis.size - 1));
    }
  }
}

function textsOf(address: string, { vni, tap, mac }: VniState, more: number): Omit<Report, 'code'> {
  const who = address === OTHERS ? 'a source that is no configured peer' : `peer ${address}`;
  const others = more > 0 ? `, and those of ${more} more VNIs` : '';
  return {
    detail: `${who} sends frames with the MAC of this VTEP: ${mac} of ${tap}, or that of its bridge, VNI ${vni}${others}`,
    why: 'hosts with equal MACs do not reach each other; frames with the MAC of the TAP are dropped (local_mac)',
    cure: 'if the peer is a clone of this machine, give one of the two another MAC (--mac); else look for a loop that returns frames',
  };
}
