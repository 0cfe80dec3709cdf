/**
 * Converts FDB reports of all workers into events (`exchange/fdb-report.ts`).
 */
import { addressOfRow } from '../abi/peer-row.js';
import type { VtepEvent } from '../exchange/events.js';
import {
  type FdbReport,
  FROM,
  KIND,
  LEARNED,
  MAC_HIGH,
  MAC_LOW,
  MISS,
  MISS_TICKS,
  MOVED,
  PEER,
  ROW,
  VNI,
} from '../exchange/fdb-report.js';
import { formatMac } from '../wire/mac.js';

/** Maximum number of missed MACs that are remembered; beyond this limit, all are forgotten. */
const MISSES_REMEMBERED = 4096;

export type FdbEvent = Extract<VtepEvent, { type: 'learned' | 'aged' | 'moved' | 'miss' | 'lost' }>;

type AddressText = (address: { family: 4 | 6; bytes: Uint8Array; scopeId: number }) => string;

export class FdbEventReader {
  readonly #addressText: AddressText;
  /** Tick of the last reported miss of each MAC. */
  readonly #missed = new Map<string, number>();

  constructor(addressText: AddressText) {
    this.#addressText = addressText;
  }

  read({ rows, lost, tick }: FdbReport): FdbEvent[] {
    const events: FdbEvent[] = [];
    for (let base = 0; base < rows.length; base += ROW) {
      const event = this.#event(rows, base);
      if (event.type !== 'miss' || this.#isNew(event, tick)) events.push(event);
    }
    if (lost > 0) events.push({ type: 'lost', count: lost });
    return events;
  }

  #event(rows: Int32Array, base: number): FdbEvent {
    const vni = rows[base + VNI];
    const mac = formatMac(rows[base + MAC_HIGH], rows[base + MAC_LOW]);
    const kind = rows[base + KIND];
    if (kind === MISS) return { type: 'miss', vni, mac };
    const peer = this.#peer(rows, base + PEER);
    if (kind === MOVED) return { type: 'moved', vni, mac, peer, from: this.#peer(rows, base + FROM) };
    return { type: kind === LEARNED ? 'learned' : 'aged', vni, mac, peer };
  }

  #peer(rows: Int32Array, base: number): string {
    return this.#addressText(addressOfRow(rows, base));
  }

  /** False when another worker reported the same MAC within the same second. */
  #isNew({ vni, mac }: { vni: number; mac: string }, tick: number): boolean {
    const key = `${vni} ${mac}`;
    const before = this.#missed.get(key);
    if (before !== undefined && Math.abs((tick - before) | 0) < MISS_TICKS) return false;
    if (this.#missed.size >= MISSES_REMEMBERED) this.#missed.clear();
    this.#missed.set(key, tick);
    return true;
  }
}
