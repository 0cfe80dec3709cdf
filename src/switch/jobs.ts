/**
 * Changes that walk the FDB: each is a job that takes a bounded piece a round, so that frames are forwarded meanwhile. An
 * entry that comes, goes or moves between two pieces is met by what each job says of itself. Begun by the applier; one at
 * a time.
 */

import { FdbPage } from '../exchange/fdb-page.js';
import type { Answer, Change } from '../exchange/protocol.js';
import type { Fdb } from './fdb/fdb.js';
import type { MacTable } from './fdb/mac-table.js';
import { TICKS_PER_SECOND } from './fdb/vni-table.js';

/** A piece of work that takes several rounds. @returns the answer once it is done */
export type Job = (tick: number) => Answer | undefined;

/** Which entries of the FDB are meant. */
export interface Filter {
  readonly vniIdx: number;
  readonly type: 'static' | 'dynamic' | 'all';
  /** Rows of peers; undefined: any. */
  readonly peers: ReadonlySet<number> | undefined;
}

/** Slots of the FDB that one piece of a job looks at. */
const PIECE_SLOTS = 16_384;
/** Likewise of a listing, which does more with each: some tens of microseconds. */
const LIST_SLOTS = 512;
/** Victims that are looked for in one piece: some tens of microseconds, unless few entries lie in a large table. */
const PIECE_EVICTIONS = 128;
const HASH_END = 2 ** 32;

/** One job after the other. @returns a job with the last one's answer */
export function inTurn(...jobs: readonly Job[]): Job {
  let current = 0;
  return (tick) => {
    for (;;) {
      const answer = jobs[current](tick);
      if (!answer || current === jobs.length - 1) return answer;
      current++;
    }
  };
}

export function flush(fdb: Fdb, filter: Filter): Job {
  return purge(fdb, (position) => matches(fdb, position, filter));
}

/** Removes what matches, pass by pass, until one finds none: nothing that matches may come any more. */
export function purgeAll(fdb: Fdb, isMeant: (position: number) => boolean): Job {
  let pass = purge(fdb, isMeant);
  return (tick) => {
    const answer = pass(tick);
    if (!answer || answer.removed === 0) return answer;
    pass = purge(fdb, isMeant);
    return undefined;
  };
}

/** Removes what matches, in one pass over the table. A table that grows meanwhile is walked anew. */
function purge(fdb: Fdb, isMeant: (position: number) => boolean): Job {
  const { table } = fdb;
  let position = 0;
  let capacity = 0;
  let removed = 0;
  return () => {
    if (drainOldTable(table)) return undefined;
    if (capacity !== table.capacity) {
      capacity = table.capacity;
      position = 0;
    }
    const end = Math.min(capacity, position + PIECE_SLOTS);
    while (position < end) {
      if (table.value(position) === 0 || !isMeant(position)) position++;
      else {
        fdb.remove(position);
        removed++;
      }
    }
    return position === capacity ? { removed } : undefined;
  };
}

/** Evicts what a VNI has beyond its limit. Those that are learned meanwhile evict others by themselves. */
export function shrink(fdb: Fdb, vniIdx: number): Job {
  return () => {
    if (!fdb.isOverfull(vniIdx)) return {};
    if (drainOldTable(fdb.table)) return undefined;
    for (let i = 0; i < PIECE_EVICTIONS && fdb.isOverfull(vniIdx); i++) fdb.evictOne(vniIdx);
    return fdb.isOverfull(vniIdx) ? undefined : {};
  };
}

/** One page in hash order: the cursor is a hash, so it stays right while entries come, go and move. */
export function list(fdb: Fdb, change: Extract<Change, { op: 'fdb.list' }>): Job {
  const { table } = fdb;
  const page = new FdbPage(change.limit);
  const answer = (nextCursor: number): Answer => ({ page: page.toMessage(), nextCursor });
  // Whatever is no place in the order of hashes begins at the front: a list always ends.
  let from = change.cursor > 0 ? Math.floor(change.cursor) : 0;
  return (tick) => {
    if (from >= HASH_END) return answer(-1);
    const to = Math.min(HASH_END, from + Math.max(1, Math.floor(HASH_END / table.capacity)) * LIST_SLOTS);
    let last = -1;
    for (const position of table.collect(from, to)) {
      if (!matches(fdb, position, change)) continue;
      const hash = table.hashAt(position);
      // Entries with one and the same hash share a page: the cursor cannot tell them apart.
      if (page.count >= change.limit && hash !== last) return answer(hash);
      addTo(page, fdb, position, tick);
      last = hash;
    }
    from = to;
    return from >= HASH_END ? answer(-1) : undefined;
  };
}

function matches(fdb: Fdb, position: number, filter: Filter): boolean {
  if (fdb.table.tag(position) !== filter.vniIdx) return false;
  if (filter.type !== 'all' && fdb.isStatic(position) !== (filter.type === 'static')) return false;
  return filter.peers === undefined || filter.peers.has(fdb.peerAt(position));
}

function addTo(page: FdbPage, fdb: Fdb, position: number, tick: number): void {
  const { table, peers } = fdb;
  const isStatic = fdb.isStatic(position);
  const ageMs = isStatic ? 0 : ((tick - table.stamp(position)) | 0) * (1000 / TICKS_PER_SECOND);
  const mac = { high: table.macHigh(position), low: table.macLow(position) };
  page.add(mac, isStatic, ageMs, peers, fdb.peerAt(position));
}

/** @returns true while there is still an old table to be drained: a piece of it has been, now */
function drainOldTable(table: MacTable): boolean {
  if (!table.draining) return false;
  table.moveSome(PIECE_SLOTS);
  return true;
}
