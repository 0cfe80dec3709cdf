/**
 * Changes that walk the FDB, as jobs of bounded pieces.
 *
 * A job is divided into pieces, so that frames are forwarded between two pieces. The comment of
 * each job describes its handling of entries that are added, removed or moved between two pieces.
 * The applier starts jobs, one at a time.
 */

import { FdbPage } from '../exchange/fdb-page.js';
import type { Answer, Change } from '../exchange/protocol.js';
import type { Fdb } from './fdb/fdb.js';
import type { MacTable } from './fdb/mac-table.js';
import { TICKS_PER_SECOND } from './fdb/vni-table.js';

/** Work that takes several rounds. @returns the answer when it is done */
export type Job = (tick: number) => Answer | undefined;

/** Selects entries of the FDB. */
export interface Filter {
  readonly vniIdx: number;
  readonly type: 'static' | 'dynamic' | 'all';
  /** Peer rows; undefined for any. */
  readonly peers: ReadonlySet<number> | undefined;
}

/** Slots of the FDB that one piece of a job examines. */
const PIECE_SLOTS = 16_384;
/** Slots that one piece of a listing examines: some tens of µs. A listing takes longer per slot. */
const LIST_SLOTS = 512;
/**
 * Victims searched in one piece. The search takes some tens of microseconds, or longer if a large
 * table has few entries.
 */
const PIECE_EVICTIONS = 128;
const HASH_END = 2 ** 32;

/** Runs jobs one after the other. @returns a job with the answer of the last one */
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

/**
 * Removes matching entries in passes, until a pass finds no matching entry. The caller ensures that
 * no matching entry is added meanwhile.
 */
export function purgeAll(fdb: Fdb, isMatch: (position: number) => boolean): Job {
  let pass = purge(fdb, isMatch);
  return (tick) => {
    const answer = pass(tick);
    if (!answer || answer.removed === 0) return answer;
    pass = purge(fdb, isMatch);
    return undefined;
  };
}

/** Removes matching entries in one pass over the table. The pass restarts when the table grows. */
function purge(fdb: Fdb, isMatch: (position: number) => boolean): Job {
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
      if (table.value(position) === 0 || !isMatch(position)) position++;
      else {
        fdb.remove(position);
        removed++;
      }
    }
    return position === capacity ? { removed } : undefined;
  };
}

/**
 * Evicts the entries of a VNI beyond its limit. A MAC that is learned meanwhile evicts an entry
 * when it is added.
 */
export function shrink(fdb: Fdb, vniIdx: number): Job {
  return () => {
    if (!fdb.isOverfull(vniIdx)) return {};
    if (drainOldTable(fdb.table)) return undefined;
    for (let i = 0; i < PIECE_EVICTIONS && fdb.isOverfull(vniIdx); i++) fdb.evictOne(vniIdx);
    return fdb.isOverfull(vniIdx) ? undefined : {};
  };
}

/** Lists one page in hash order. The cursor is a hash, so it stays valid while entries change. */
export function list(fdb: Fdb, change: Extract<Change, { op: 'fdb.list' }>): Job {
  const { table } = fdb;
  const page = new FdbPage(change.limit);
  const answer = (nextCursor: number): Answer => ({ page: page.toMessage(), nextCursor });
  // An invalid cursor starts at the beginning, so a listing always ends.
  let from = change.cursor > 0 ? Math.floor(change.cursor) : 0;
  return (tick) => {
    if (from >= HASH_END) return answer(-1);
    const to = Math.min(HASH_END, from + Math.max(1, Math.floor(HASH_END / table.capacity)) * LIST_SLOTS);
    let last = -1;
    for (const position of table.collect(from, to)) {
      if (!matches(fdb, position, change)) continue;
      const hash = table.hashAt(position);
      // Entries with equal hashes share a page: the cursor cannot separate them.
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

/** Drains a piece of the old table. @returns true when there was an old table to drain */
function drainOldTable(table: MacTable): boolean {
  if (!table.draining) return false;
  table.moveSome(PIECE_SLOTS);
  return true;
}
