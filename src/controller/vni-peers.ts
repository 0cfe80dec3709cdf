/**
 * The peers of one VNI, in the main thread.
 *
 * Keeps the peers in the order in which they were added, and their rows. Peers that are added
 * together have adjacent rows, so only their list and the first row are kept. All VNIs with the
 * same list share one object, so a thousand peers in a thousand VNIs do not need a million records.
 * The state of a single peer is created on demand.
 *
 * Used by the handle only. This module sends nothing to workers; the handle sends one `peer.add`
 * for each run.
 */
import { isPeerOf, type NewPeer, type PeerState } from '../exchange/data-plane.js';
import type { RowAllocator, RowRun } from './rows.js';

/** Peers list[from], list[from + 1], … in rows first, first + 1, … */
export interface PeerRun extends RowRun {
  readonly list: readonly NewPeer[];
  readonly from: number;
}

/**
 * Maximum number of peers in one run. A worker adds a run without interruption, in about 0.1 ms.
 */
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

  /**
   * @param host canonical text of an address, or the name of named peers @returns the rows of these
   * peers
   */
  rowsOf(host: string): number[] {
    const rows: number[] = [];
    for (const { list, from, first, count } of this.#runs)
      for (let i = 0; i < count; i++) if (isPeerOf(list[from + i], host)) rows.push(first + i);
    return rows;
  }

  /** Returns the run that contains a row, reduced to that row. */
  at(peerIdx: number): PeerRun | undefined {
    const run = this.#runs.find((one) => isIn(one, peerIdx));
    return run && part(run, peerIdx - run.first, 1);
  }

  /**
   * @param list list that is kept and must not be modified @returns the added runs @throws Error
   * when too few rows are free
   */
  add(list: readonly NewPeer[], rows: RowAllocator): readonly PeerRun[] {
    if (rows.free < list.length)
      throw new Error(`${list.length} peers requested, but only ${rows.free} peer rows are free`);
    const added: PeerRun[] = [];
    for (let from = 0; from < list.length; from += added.at(-1)!.count)
      added.push({ ...rows.allocate(Math.min(RUN_MAX, list.length - from)), list, from });
    this.#runs = [...this.#runs, ...added];
    return added;
  }

  /**
   * Removes the peer of a row; other peers keep their rows. @returns false when the row had no peer
   */
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

  /** Removes all peers. @returns their runs */
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
