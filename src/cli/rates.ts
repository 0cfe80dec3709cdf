/**
 * Rates per second from two readings of the counters.
 *
 * A counter that decreased has been reset by a restart of the daemon; its rate is computed from the
 * increase since the restart. Directions are those of the overlay: `out` is from the TAP to peers,
 * `in` from peers to the TAP.
 */
import type { CountersView, Drops, Traffic, VniCounters } from '../api/views.js';

/** Frames and bytes per second. */
export type Rate = Traffic;

/** FDB entries learned, moved, aged out and evicted per second. */
export type Churn = Readonly<Record<(typeof CHURN)[number], number>>;

export interface PeerRates {
  /** Address; '' for sources that are not configured peers. */
  readonly address: string;
  readonly out: Rate;
  readonly in: Rate;
}

export interface VniRates {
  readonly vni: number;
  readonly out: Rate;
  readonly in: Rate;
  /** Frames dropped per second, summed over all drop reasons. */
  readonly dropped: number;
  /** Current number of FDB entries. */
  readonly fdbEntries: number;
  readonly fdb: Churn;
  /** Sorted by bytes per second, highest first. */
  readonly peers: readonly PeerRates[];
}

export interface DropRate {
  /** VNI; null for drops without a configured VNI. */
  readonly vni: number | null;
  /** `tap`: dropped by the kernel before vtepd read the frame. */
  readonly direction: 'encap' | 'decap' | 'tap';
  readonly reason: string;
  /** Frames since vtepd started. */
  readonly total: number;
  readonly perSecond: number;
}

export interface Rates {
  /** Sorted by VNI. */
  readonly vnis: readonly VniRates[];
  /** Drop reasons with a nonzero total, sorted by current rate, highest first. */
  readonly drops: readonly DropRate[];
  /** Share of the time in which the data plane was not waiting, 0 to 1. */
  readonly busyRatio: number;
}

export const CHURN = ['learned', 'moved', 'aged', 'evicted'] as const;

/** @param before previous reading; undefined for the first reading, whose rates are all 0 */
export function ratesBetween(before: CountersView | undefined, now: CountersView, seconds: number): Rates {
  const earlier = new Map((before?.vnis ?? []).map((vni) => [vni.vni, vni]));
  const perSecond = before === undefined ? () => 0 : (then = 0, count = 0) => gained(then, count) / seconds;
  const drops = [
    ...dropRates(null, before?.drops, now.drops, perSecond),
    ...now.vnis.flatMap(({ vni, tap, drops }) => [
      ...dropRates(vni, earlier.get(vni)?.drops, drops, perSecond),
      ...queueRates(vni, earlier.get(vni)?.tap.queueDropped, tap.queueDropped, perSecond),
    ]),
  ];
  return {
    vnis: now.vnis.map((vni) => vniRates(earlier.get(vni.vni), vni, drops, perSecond)).sort(byNumber),
    drops: drops.sort((a, b) => b.perSecond - a.perSecond || b.total - a.total),
    busyRatio: now.busyRatio,
  };
}

type PerSecond = (before: number | undefined, now: number | undefined) => number;

function gained(before: number, now: number): number {
  return now < before ? now : now - before;
}

function vniRates(
  before: VniCounters | undefined,
  now: VniCounters,
  drops: readonly DropRate[],
  perSecond: PerSecond,
): VniRates {
  const rate = (then: Traffic | undefined, traffic: Traffic): Rate => ({
    frames: perSecond(then?.frames, traffic.frames),
    bytes: perSecond(then?.bytes, traffic.bytes),
  });
  const earlier = new Map((before?.peers ?? []).map((peer) => [peer.address, peer]));
  const peers = now.peers.map(({ address, tx, rx }) => {
    const then = earlier.get(address);
    return { address, out: rate(then?.tx, tx), in: rate(then?.rx, rx) };
  });
  const { others } = now;
  if (others.tx.frames + others.rx.frames > 0) {
    peers.push({
      address: '',
      out: rate(before?.others.tx, others.tx),
      in: rate(before?.others.rx, others.rx),
    });
  }
  const churn = CHURN.map((what) => [what, perSecond(before?.fdb[what], now.fdb[what])]);
  return {
    vni: now.vni,
    out: rate(before?.tap.rx, now.tap.rx),
    in: rate(before?.tap.tx, now.tap.tx),
    dropped: sum(drops.filter(({ vni }) => vni === now.vni).map((drop) => drop.perSecond)),
    fdbEntries: now.fdb.static + now.fdb.dynamic,
    fdb: Object.fromEntries(churn) as Churn,
    peers: peers.sort((a, b) => b.out.bytes + b.in.bytes - a.out.bytes - a.in.bytes),
  };
}

function dropRates(
  vni: number | null,
  before: Drops | undefined,
  now: Drops,
  perSecond: PerSecond,
): DropRate[] {
  return (['encap', 'decap'] as const).flatMap((direction) =>
    Object.entries(now[direction])
      .filter(([, total]) => total > 0)
      .map(([reason, total]) => ({
        vni,
        direction,
        reason,
        total,
        perSecond: perSecond(before?.[direction][reason], total),
      })),
  );
}

function queueRates(
  vni: number,
  before: number | undefined,
  total: number,
  perSecond: PerSecond,
): DropRate[] {
  if (total === 0) return [];
  return [{ vni, direction: 'tap', reason: 'queue_full', total, perSecond: perSecond(before, total) }];
}

function byNumber(a: VniRates, b: VniRates): number {
  return a.vni - b.vni;
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
