/**
 * Periodic search of the paths to all peers. A peer that echoes probes is searched at start, every ten minutes (RFC 8899
 * §5.1.1, PMTU_RAISE_TIMER: a path may have become wider), and soon after a frame was too big for the path or the peer
 * fell silent. A peer that has not answered a search is searched at doubling intervals of 10 s to ten minutes, which begin
 * again when it is first received from or first answers a question: the other end may start later. Each of these searches
 * is three short datagrams, which a peer that does not echo drops.
 *
 * A result holds until the next one: a peer that has gone says nothing about the path. After an hour without an answer
 * the MTU of the route counts again.
 */
import type { ProbedPeer } from './means.js';
import type { ProbeResult } from './prober.js';

/** How often signs are looked at and what is due begins, ms. */
export const CHECK_MS = 5_000;
const PERIOD_MS = 600_000;
/** After a sign of trouble, at most so often, ms. */
const SOONEST_MS = 60_000;
const BELIEVED_MS = 3_600_000;
/** Searches under way at most. */
const AT_ONCE = 16;

/** Signs of trouble with one peer, as counted so far. */
export interface Signs {
  readonly peer: ProbedPeer;
  /** Frames sent to it. */
  readonly txFrames: number;
  /** When it was heard last, ms since the epoch; 0: never. */
  readonly lastSeenMs: number;
  /** Frames of its VNI that were too big for a path. */
  readonly tooBig: number;
}

export interface WatchOptions {
  readonly search: (peer: ProbedPeer) => Promise<ProbeResult>;
  /** Each (VNI, peer), with what was counted. */
  readonly signs: () => readonly Signs[];
  /** What a path carries as far as probes know, bytes; undefined: they don't any more. */
  readonly learned: (address: string, pathMtu: number | undefined) => void;
}

interface Path {
  lastProbedMs: number;
  answeredMs: number;
  busy: boolean;
  suspect: boolean;
  /** From the last search to the next while none has succeeded, ms. */
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

  /** Begins what is due. Call every CHECK_MS. @param nowMs a clock that only goes forward */
  check(nowMs: number): void {
    const present = new Set<string>();
    for (const signs of this.#options.signs()) {
      const { text } = signs.peer;
      if (present.has(text)) continue;
      present.add(text);
      this.#notice(text, signs);
    }
    for (const [text, path] of this.#paths) {
      if (!present.has(text)) this.#forget(text);
      else if (this.#running < AT_ONCE && isDue(path, nowMs)) void this.#probe(text, path, nowMs);
      else if (path.answeredMs > 0 && nowMs - path.answeredMs > BELIEVED_MS) this.#disbelieve(text, path);
    }
  }

  /** Reports that a vtepd at this address has answered a question for the first time. */
  appeared(text: string): void {
    const path = this.#paths.get(text);
    if (path !== undefined) searchSoon(path);
  }

  /** A path was searched on demand. @param nowMs the clock of `look` */
  searched(text: string, pathMtu: number, nowMs: number): void {
    const path = this.#paths.get(text);
    if (path === undefined) return;
    path.answeredMs = nowMs;
    this.#options.learned(text, pathMtu);
  }

  #notice(text: string, signs: Signs): void {
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
    // Behind the others: those that are due again after a short interval do not keep them waiting.
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

  #disbelieve(text: string, path: Path): void {
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
  return !busy && nowMs - lastProbedMs >= (suspect ? Math.min(SOONEST_MS, periodMs) : periodMs);
}

/** Something was too big; or frames went there, and nothing came from a peer that used to be heard. */
function isSuspect(before: Signs, after: Signs): boolean {
  if (after.tooBig > before.tooBig) return true;
  const silent = after.lastSeenMs > 0 && after.lastSeenMs === before.lastSeenMs;
  return silent && after.txFrames > before.txFrames;
}
