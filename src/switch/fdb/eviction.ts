/**
 * Fair eviction: selects the entry to remove when a VNI's limit is reached.
 *
 * The victim belongs to the peer with most entries, so that a peer that floods MACs evicts only its
 * own entries (Open vSwitch gives the same reason for its rule). The victim is found by a scan that
 * continues where the last scan stopped. The scan is bounded, because a remote can cause one with
 * every frame. If the scan finds no entry of that peer, the new MAC is not learned this time.
 */
import type { PeerLists } from './flood-list.js';
import type { MacTable } from './mac-table.js';
import type { PeerTable } from './peer-table.js';

/** Slots examined for one victim: 16 KB of memory, about a microsecond. */
const SAMPLE_SLOTS = 1024;

/** Entries to search, each held by a peer. */
export interface HeldEntries {
  readonly table: MacTable;
  readonly peers: PeerTable;
  readonly members: PeerLists;
  /** @returns dynamic entries of the peer row */
  held(peerIdx: number): number;
  isStatic(position: number): boolean;
  /** @returns peer row of the entry */
  peerAt(position: number): number;
}

export class VictimSearch {
  #cursor = 0;

  /**
   * @returns position of the entry to evict; −1 when no examined slot has an entry of the peer with
   * most entries
   */
  find(fdb: HeldEntries, vniIdx: number): number {
    const holder = largestHolder(fdb, vniIdx);
    const { table } = fdb;
    const mask = table.capacity - 1;
    for (let looked = 0; looked < SAMPLE_SLOTS; looked++) {
      const position = (this.#cursor = (this.#cursor + 1) & mask);
      if (table.value(position) === 0 || table.tag(position) !== vniIdx || fdb.isStatic(position)) continue;
      if (fdb.peers.accountIdx(fdb.peerAt(position)) === holder) return position;
    }
    return -1;
  }
}

/**
 * Returns the peer row that holds most entries. Unconfigured sources count together as one holder:
 * an address is easily forged.
 */
function largestHolder(fdb: HeldEntries, vniIdx: number): number {
  const runs = fdb.members.runs(vniIdx);
  let largest = -1;
  let most = 0;
  for (let run = 0; run < runs.length; run += 2) {
    const end = runs[run] + runs[run + 1];
    for (let peerIdx = runs[run]; peerIdx < end; peerIdx++) {
      const held = fdb.held(peerIdx);
      if (held > most) {
        most = held;
        largest = peerIdx;
      }
    }
  }
  return largest;
}
