/**
 * Log and reports about one shortcut: in use, or why not.
 *
 * Each change has one log line. With `--kernel-path on` a shortcut that is not in use is a warning.
 * With `auto` it is a notice if a rule of the host stands against it, or a permission is missing; a
 * machine that cannot do it is normal.
 */
import type { Report, ReportCode } from '../exchange/report.js';
import type { Shortcut } from '../host/rules/outer-traffic.js';
import type { Logger } from '../log/log.js';
import { LimitedLog } from '../log/log-limit.js';
import type { Unused } from './tunnel-offload.js';

/** Sets the report of a code about a shortcut; undefined: it no longer holds. */
export type ReportShortcut = (
  code: ReportCode,
  shortcut: Shortcut,
  texts: Omit<Report, 'code'> | undefined,
) => void;

const CODES = ['kernel_path_unused', 'kernel_path_off', 'offload_not_permitted'] as const;

interface Words {
  /** Effect of its absence. */
  readonly without: string;
  readonly consequence: string;
}

const WORDS: Readonly<Record<Shortcut, Words>> = {
  superframes: {
    without: 'superframes are cut up before they are sent',
    consequence: 'TCP needs more CPU than with whole superframes',
  },
  flows: {
    without: 'every frame of a TCP flow goes through user space',
    consequence: 'TCP needs more CPU than with flows through the kernel',
  },
};

export class ShortcutStatus {
  readonly #shortcut: Shortcut;
  readonly #mode: 'auto' | 'on';
  readonly #report: ReportShortcut;
  readonly #log: Logger;
  readonly #limited: LimitedLog;
  #reported: ReportCode | undefined;
  /** Last text; '' before the first. */
  #text = '';

  constructor(shortcut: Shortcut, mode: 'auto' | 'on', report: ReportShortcut, log: Logger) {
    this.#shortcut = shortcut;
    this.#mode = mode;
    this.#report = report;
    this.#log = log;
    this.#limited = new LimitedLog(log);
  }

  /** @param text for the log */
  used(text: string): void {
    const wasReported = this.#reported !== undefined;
    this.#reported = undefined;
    for (const code of CODES) this.#report(code, this.#shortcut, undefined);
    this.#logOnce(text, wasReported);
  }

  /** @param isCaused another report has the cause */
  unused(unused: Unused, isCaused = false): void {
    const { why, cure, notPermitted } = unused;
    const { without, consequence } = WORDS[this.#shortcut];
    const code = isCaused ? undefined : this.#codeOf(unused);
    const detail = `${without}: ${notPermitted?.operation ?? why}`;
    const wasReported = this.#reported !== undefined;
    this.#reported = code;
    for (const other of CODES) if (other !== code) this.#report(other, this.#shortcut, undefined);
    if (code !== undefined)
      this.#report(code, this.#shortcut, {
        detail,
        why: consequence,
        cure: notPermitted
          ? `for more speed, give vtepd ${notPermitted.missing}: docs/systemd.md, "Without CAP_BPF"`
          : (cure ?? 'remove the cause, or set --kernel-path auto'),
      });
    this.#logOnce(detail, wasReported || code !== undefined || isCaused);
  }

  #codeOf({ cure, notPermitted }: Unused): ReportCode | undefined {
    if (this.#mode === 'on') return 'kernel_path_unused';
    if (notPermitted) return 'offload_not_permitted';
    return cure === undefined ? undefined : 'kernel_path_off';
  }

  /**
   * Logs the first state at level debug, because the status shows it, and changes at level info,
   * because they affect throughput, unless a report has logged them.
   */
  #logOnce(text: string, isLogged: boolean): void {
    if (this.#text === text) return;
    if (this.#text === '' || isLogged) this.#log.debug(text);
    else this.#limited.log('', 'info', {}, text);
    this.#text = text;
  }
}
