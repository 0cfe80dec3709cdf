/**
 * Detects peers that become silent and peers that become active again.
 *
 * A peer is silent if frames were sent to it for SILENT_MS and none was received from it. Its name
 * is then looked up again, because the peer possibly has a new address, and event subscribers are
 * informed. Silence is not always a fault: a host without traffic is silent as well.
 *
 * The input is that of `paths/watch.ts`, one element per address. The time is a parameter of
 * `check`.
 */

/** Time without an answer after which a peer is silent, ms. */
const SILENT_MS = 15_000;
/** Period of lookups while a peer is silent, ms. */
const AGAIN_MS = 60_000;

export interface PeerSigns {
  readonly peer: { readonly text: string };
  /** Frames sent to the peer. */
  readonly txFrames: number;
  /** Time of the last frame from the peer, ms since the epoch; 0: never. */
  readonly lastSeenMs: number;
}

export interface SilenceListener {
  /** Called once at each start and end of silence; `silent` is the new state. */
  readonly transition: (address: string, silent: boolean) => void;
  /** Called at the start of silence, and periodically while it lasts. */
  readonly lookUp: (address: string) => void;
}

interface Record {
  txFrames: number;
  lastSeenMs: number;
  /** Time of the first unanswered frame; undefined: none. */
  unansweredMs: number | undefined;
  silent: boolean;
  lookedUpMs: number;
}

export class PeerSilence {
  readonly #listener: SilenceListener;
  #records = new Map<string, Record>();

  constructor(listener: SilenceListener) {
    this.#listener = listener;
  }

  /** @param nowMs monotonic clock, ms */
  check(signs: readonly PeerSigns[], nowMs: number): void {
    const records = new Map<string, Record>();
    for (const sign of signs) {
      const { text } = sign.peer;
      const record = this.#records.get(text) ?? firstOf(sign);
      records.set(text, record);
      this.#judge(text, record, sign, nowMs);
    }
    this.#records = records;
  }

  #judge(address: string, record: Record, { txFrames, lastSeenMs }: PeerSigns, nowMs: number): void {
    const received = lastSeenMs > record.lastSeenMs;
    const first = received && record.lastSeenMs === 0;
    const sent = txFrames > record.txFrames;
    record.txFrames = txFrames;
    record.lastSeenMs = lastSeenMs;
    if (received) {
      record.unansweredMs = undefined;
      if (first || record.silent) this.#listener.transition(address, false);
      record.silent = false;
    } else if (sent) this.#unanswered(address, record, nowMs);
  }

  #unanswered(address: string, record: Record, nowMs: number): void {
    record.unansweredMs ??= nowMs;
    if (nowMs - record.unansweredMs < SILENT_MS) return;
    if (!record.silent) this.#listener.transition(address, true);
    if (!record.silent || nowMs - record.lookedUpMs >= AGAIN_MS) {
      record.lookedUpMs = nowMs;
      this.#listener.lookUp(address);
    }
    record.silent = true;
  }
}

/**
 * Initial record. The counter of sent frames is possibly above 0 already, so only frames sent after
 * this check count.
 */
function firstOf({ txFrames }: PeerSigns): Record {
  return { txFrames, lastSeenMs: 0, unansweredMs: undefined, silent: false, lookedUpMs: 0 };
}
