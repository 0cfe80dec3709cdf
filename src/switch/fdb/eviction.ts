/**
 * Fair eviction: whose entry makes room when a VNI's limit is reached. The victim belongs to the peer that holds
 * most, so that a peer which floods MACs only ever displaces its own (the reason Open vSwitch gives for the same
 * rule). The entry is found by sampling: a scan goes on where the last one stopped, and is bounded, because a
 * remote can ask for it with every frame. When it finds nothing, the new MAC is not learned this time.
 */
import type { PeerLists } from './flood-list.js';
import type { MacTable } from './mac-table.js';
import type { PeerTable } from './peer-table.js';

/** Slots looked at for one victim: 16 KB of memory, about a microsecond. */
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

  /** @returns position of the entry to evict, or −1 when the sample held none of the largest holder's */
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

/** Sources that are not configured count as one holder together: an address is easily forged. */
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
