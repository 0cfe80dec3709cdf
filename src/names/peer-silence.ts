/**
 * Peers that fall silent and are heard again: frames went to a peer for SILENT_MS, and nothing came from it. Its name is
 * then looked up anew, for it may have moved, and who listens to events is told. Whether it hurts is not known here: a host that has nothing
 * to say is silent as well.
 *
 * Signs are those that paths are watched by (`paths/watch.ts`), one row an address. Pure; time is that of the looks.
 */

/** Unanswered for so long, ms. */
const SILENT_MS = 15_000;
/** While it lasts, its name is looked up so often, ms. */
const AGAIN_MS = 60_000;

export interface PeerSigns {
  readonly peer: { readonly text: string };
  /** Frames sent to it. */
  readonly txFrames: number;
  /** When it was heard last, ms since the epoch; 0: never. */
  readonly lastSeenMs: number;
}

export interface SilenceListener {
  /** Once each time it begins or ends. */
  readonly turned: (address: string, silent: boolean) => void;
  /** When it begins, and now and then while it lasts. */
  readonly lookUp: (address: string) => void;
}

interface Record {
  txFrames: number;
  lastSeenMs: number;
  /** Of the first frame that was not answered; undefined: there is none. */
  unansweredMs: number | undefined;
  silent: boolean;
  askedMs: number;
}

export class PeerSilence {
  readonly #listener: SilenceListener;
  #records = new Map<string, Record>();

  constructor(listener: SilenceListener) {
    this.#listener = listener;
  }

  /** @param nowMs a clock that only goes forward */
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
    const heard = lastSeenMs > record.lastSeenMs;
    const first = heard && record.lastSeenMs === 0;
    const sent = txFrames > record.txFrames;
    record.txFrames = txFrames;
    record.lastSeenMs = lastSeenMs;
    if (heard) {
      record.unansweredMs = undefined;
      if (first || record.silent) this.#listener.turned(address, false);
      record.silent = false;
    } else if (sent) this.#unanswered(address, record, nowMs);
  }

  #unanswered(address: string, record: Record, nowMs: number): void {
    record.unansweredMs ??= nowMs;
    if (nowMs - record.unansweredMs < SILENT_MS) return;
    if (!record.silent) this.#listener.turned(address, true);
    if (!record.silent || nowMs - record.askedMs >= AGAIN_MS) {
      record.askedMs = nowMs;
      this.#listener.lookUp(address);
    }
    record.silent = true;
  }
}

/** A counter may have been running before: only what is counted from now on says something. */
function firstOf({ txFrames }: PeerSigns): Record {
  return { txFrames, lastSeenMs: 0, unansweredMs: undefined, silent: false, askedMs: 0 };
}
