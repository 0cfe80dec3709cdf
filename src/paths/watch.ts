/**
 * Periodic search of the paths to all peers.
 *
 * A peer that echoes probes is searched at start, every ten minutes (RFC 8899 §5.1.1,
 * PMTU_RAISE_TIMER: a path may have become wider), and soon after a frame was too big for the path
 * or the peer fell silent. A peer that has not answered a search is searched at doubling intervals
 * of 10 s to ten minutes, because the vtepd at the peer possibly starts later. The intervals start
 * at 10 s again when the first frame from the peer arrives, or when the peer first replies to an
 * identify request. A search without a reply costs three short datagrams; a peer that does not echo
 * probes drops them.
 *
 * A result is valid until the next result. A search without a reply does not invalidate the result,
 * because the path to a peer that is down is possibly unchanged. After an hour without a reply the
 * MTU of the route is used again.
 */
import type { ProbedPeer } from './means.js';
import type { ProbeResult } from './prober.js';

/** Interval of checks, ms. */
export const CHECK_MS = 5_000;
const PERIOD_MS = 600_000;
/** Minimum interval of searches after signs of trouble, ms. */
const SUSPECT_PERIOD_MS = 60_000;
/** Time until a result expires, ms. */
const VALID_MS = 3_600_000;
/** Maximum number of concurrent searches. */
const AT_ONCE = 16;

/** Counters of one peer that show trouble with its path. */
export interface Signs {
  readonly peer: ProbedPeer;
  /** Frames sent to the peer. */
  readonly txFrames: number;
  /** Time of the last frame from the peer, ms since the epoch; 0 never. */
  readonly lastSeenMs: number;
  /** Frames of the peer's VNIs that were too big for a path. */
  readonly tooBig: number;
}

export interface WatchOptions {
  readonly search: (peer: ProbedPeer) => Promise<ProbeResult>;
  /** Returns the counters of each peer. */
  readonly signs: () => readonly Signs[];
  /** Reports the path MTU found by probes, bytes; undefined when it is no longer known. */
  readonly learned: (address: string, pathMtu: number | undefined) => void;
}

interface Path {
  lastProbedMs: number;
  answeredMs: number;
  busy: boolean;
  suspect: boolean;
  /** Interval to the next search while none has succeeded, ms. */
  intervalMs: number;
  signs: Signs;
}

export class PathWatch {
  readonly #options: WatchOptions;
  readonly #paths = new Map<string, Path>();
  #running = 0;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Starts the searches that are due. Call every CHECK_MS. @param nowMs monotonic time, ms */
  check(nowMs: number): void {
    const present = new Set<string>();
    for (const signs of this.#options.signs()) {
      const { text } = signs.peer;
      if (present.has(text)) continue;
      present.add(text);
      this.#update(text, signs);
    }
    for (const [text, path] of this.#paths) {
      if (!present.has(text)) this.#forget(text);
      else if (this.#running < AT_ONCE && isDue(path, nowMs)) void this.#probe(text, path, nowMs);
      else if (path.answeredMs > 0 && nowMs - path.answeredMs > VALID_MS) this.#expire(text, path);
    }
  }

  /** Reports that a vtepd at this address has replied to an identify request for the first time. */
  appeared(text: string): void {
    const path = this.#paths.get(text);
    if (path !== undefined) searchSoon(path);
  }

  /** Reports the result of a search on request. @param nowMs monotonic time as in `check`, ms */
  searched(text: string, pathMtu: number, nowMs: number): void {
    const path = this.#paths.get(text);
    if (path === undefined) return;
    path.answeredMs = nowMs;
    this.#options.learned(text, pathMtu);
  }

  #update(text: string, signs: Signs): void {
    const path = this.#paths.get(text);
    if (path === undefined) {
      const never = Number.NEGATIVE_INFINITY;
      const path = {
        lastProbedMs: never,
        answeredMs: 0,
        busy: false,
        suspect: false,
        intervalMs: CHECK_MS,
        signs,
      };
      this.#paths.set(text, path);
      return;
    }
    path.suspect ||= isSuspect(path.signs, signs);
    if (path.signs.lastSeenMs === 0 && signs.lastSeenMs > 0) searchSoon(path);
    path.signs = signs;
  }

  async #probe(text: string, path: Path, nowMs: number): Promise<void> {
    // Moves the path to the end, so that paths with short intervals do not delay the others.
    this.#paths.delete(text);
    this.#paths.set(text, path);
    path.lastProbedMs = nowMs;
    path.suspect = false;
    path.busy = true;
    path.intervalMs = Math.min(PERIOD_MS, 2 * path.intervalMs);
    this.#running++;
    const { pathMtu } = await this.#options.search(path.signs.peer);
    this.#running--;
    path.busy = false;
    if (pathMtu !== undefined && this.#paths.get(text) === path) this.searched(text, pathMtu, nowMs);
  }

  #expire(text: string, path: Path): void {
    path.answeredMs = 0;
    this.#options.learned(text, undefined);
  }

  #forget(text: string): void {
    this.#paths.delete(text);
    this.#options.learned(text, undefined);
  }
}

/** Makes a path due and restarts its back-off, unless a search has succeeded. */
function searchSoon(path: Path): void {
  if (path.answeredMs > 0) return;
  path.lastProbedMs = Number.NEGATIVE_INFINITY;
  path.intervalMs = CHECK_MS;
}

function isDue({ busy, suspect, lastProbedMs, answeredMs, intervalMs }: Path, nowMs: number): boolean {
  const periodMs = answeredMs > 0 ? PERIOD_MS : intervalMs;
  return !busy && nowMs - lastProbedMs >= (suspect ? Math.min(SUSPECT_PERIOD_MS, periodMs) : periodMs);
}

/** True when frames were too big, or frames were sent to a peer that has stopped sending. */
function isSuspect(before: Signs, after: Signs): boolean {
  if (after.tooBig > before.tooBig) return true;
  const silent = after.lastSeenMs > 0 && after.lastSeenMs === before.lastSeenMs;
  return silent && after.txFrames > before.txFrames;
}
