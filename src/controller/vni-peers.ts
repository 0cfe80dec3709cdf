/**
 * The peers of one VNI, as the main thread knows them: which they are, in the order they were added, and which rows
 * they have. Peers that come together have neighbouring rows, so what is kept is the list that they came in and the
 * first row: a list is one object however many VNIs it serves, and a thousand peers of a thousand VNIs are no million
 * records. What a single peer is, is made up when somebody asks.
 *
 * Used by the handle alone. Tells no worker: each run is what one `peer.add` says.
 */
import { isPeerOf, type NewPeer, type PeerState } from '../exchange/data-plane.js';
import type { RowAllocator, RowRun } from './rows.js';

/** Peers list[from], list[from + 1], … have the rows first, first + 1, … */
export interface PeerRun extends RowRun {
  readonly list: readonly NewPeer[];
  readonly from: number;
}

/** Peers of one run at most: what a worker takes in one piece, a tenth of a millisecond. */
const RUN_MAX = 1024;

export class VniPeers {
  #runs: readonly PeerRun[] = [];

  get runs(): readonly PeerRun[] {
    return this.#runs;
  }

  get count(): number {
    return this.#runs.reduce((sum, { count }) => sum + count, 0);
  }

  *[Symbol.iterator](): Iterator<PeerState> {
    for (const run of this.#runs) for (let i = 0; i < run.count; i++) yield peerOf(run, i);
  }

  /** @param address canonical text */
  find(address: string): PeerState | undefined {
    for (const run of this.#runs) {
      for (let i = 0; i < run.count; i++)
        if (run.list[run.from + i].address.text === address) return peerOf(run, i);
    }
    return undefined;
  }

  /** @param host canonical text of an address, or the name that peers were given by @returns their rows */
  rowsOf(host: string): number[] {
    const rows: number[] = [];
    for (const { list, from, first, count } of this.#runs)
      for (let i = 0; i < count; i++) if (isPeerOf(list[from + i], host)) rows.push(first + i);
    return rows;
  }

  /** The run that a row is of, cut down to it. */
  at(peerIdx: number): PeerRun | undefined {
    const run = this.#runs.find((one) => isIn(one, peerIdx));
    return run && part(run, peerIdx - run.first, 1);
  }

  /** @param list kept, and never written to @returns the runs that it came to @throws Error when there are too few rows */
  add(list: readonly NewPeer[], rows: RowAllocator): readonly PeerRun[] {
    if (rows.free < list.length)
      throw new Error(`there are ${rows.free} rows left for peers, and ${list.length} more are asked for`);
    const added: PeerRun[] = [];
    for (let from = 0; from < list.length; from += added.at(-1)!.count)
      added.push({ ...rows.allocate(Math.min(RUN_MAX, list.length - from)), list, from });
    this.#runs = [...this.#runs, ...added];
    return added;
  }

  /** Removes the peer of a row; those around it stay where they are. @returns false when there was none */
  remove(peerIdx: number): boolean {
    if (!this.at(peerIdx)) return false;
    this.#runs = this.#runs.flatMap((run) => {
      if (!isIn(run, peerIdx)) return [run];
      const before = peerIdx - run.first;
      const parts = [part(run, 0, before), part(run, before + 1, run.count - before - 1)];
      return parts.filter(({ count }) => count > 0);
    });
    return true;
  }

  /** Removes all. @returns the runs that they were */
  clear(): readonly PeerRun[] {
    const runs = this.#runs;
    this.#runs = [];
    return runs;
  }
}

function isIn({ first, count }: PeerRun, peerIdx: number): boolean {
  return peerIdx >= first && peerIdx < first + count;
}

function part(run: PeerRun, skipped: number, count: number): PeerRun {
  return { ...run, first: run.first + skipped, from: run.from + skipped, count };
}

/** Peer i of a run. */
export function peerOf({ list, from, first }: PeerRun, i: number): PeerState {
  return { ...list[from + i], peerIdx: first + i };
}
