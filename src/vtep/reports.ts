/**
 * Active warnings and notices of a running VTEP.
 *
 * A report is logged, and a warning is published as an event, once, when it appears or its text
 * changes. The status shows it while its condition holds. There are two kinds of callers:
 *
 * - `set` has the current report of a code about one subject, such as a device, and withdraws it.
 *   Changes are logged through a rate limit, because links and routes of the host cause them.
 * - `warn` and `replace` add reports about VNIs, or about the machine. A report about VNIs is
 *   withdrawn when the last of these VNIs is removed; a report about the machine stays.
 *
 * Codes and kinds are one table, `exchange/report.ts`.
 */
import type { Events } from '../exchange/events.js';
import { REPORTS, type Report, type ReportCode, reportText } from '../exchange/report.js';
import type { Logger } from '../log/log.js';
import { LimitedLog } from '../log/log-limit.js';

interface Active {
  readonly report: Report;
  /** Subject of a report that was set. */
  readonly subject?: string;
  /** VNIs that a report is about; undefined for all other reports. */
  readonly vnis?: Set<number>;
}

type Emit = (level: 'info' | 'warn', fields: Record<string, unknown>, message: string) => void;

export class Reports {
  readonly #log: Logger;
  readonly #limited: LimitedLog;
  readonly #events: Events;
  /** In the order of appearance. */
  #active: readonly Active[] = [];

  constructor(log: Logger, events: Events) {
    this.#log = log;
    this.#limited = new LimitedLog(log);
    this.#events = events;
  }

  /** Active reports in the order of their appearance. */
  get list(): readonly Report[] {
    return this.#active.map(({ report }) => report);
  }

  /**
   * Sets the current report of a code about a subject; several subjects may have one of this code.
   *
   * @param subject member of a bounded set, such as a configured device or peer; never data of a
   * remote host
   * @param texts undefined: the cause is gone, and the report is withdrawn
   */
  set(code: ReportCode, subject: string, texts: Omit<Report, 'code'> | undefined): void {
    const isCurrent = (active: Active) => active.report.code === code && active.subject === subject;
    const emit: Emit = (level, fields, message) =>
      this.#limited.log(`${code} ${subject}`, level, fields, message);
    const before = this.#active.find(isCurrent);
    if (texts === undefined) {
      if (before === undefined) return;
      this.#active = this.#active.filter((active) => !isCurrent(active));
      emit('info', { code }, `${REPORTS[code].kind} ${code} of ${subject} no longer holds`);
      return;
    }
    const { detail, why, cure } = texts;
    const active: Active = { report: { code, detail, why, cure }, subject };
    this.#active = before
      ? this.#active.map((other) => (other === before ? active : other))
      : [...this.#active, active];
    if (before === undefined || reportText(before.report) !== reportText(texts))
      this.#announce(active.report, emit);
  }

  /**
   * Adds a report. While a report is active, one with the same code and detail is not announced.
   *
   * @param vni VNI that the report is about
   */
  warn(report: Report, vni?: number): void {
    const same = this.#active.find(
      ({ report: other, subject }) =>
        subject === undefined && other.code === report.code && other.detail === report.detail,
    );
    if (same) {
      if (vni !== undefined) same.vnis?.add(vni);
      return;
    }
    this.#active = [...this.#active, vni === undefined ? { report } : { report, vnis: new Set([vni]) }];
    this.#announce(report, (level, fields, message) => this.#log[level](fields, message));
  }

  /**
   * Replaces the reports of this code about a VNI: earlier ones that are not in `reports` are
   * withdrawn.
   */
  replace(code: ReportCode, reports: readonly Report[], vni: number): void {
    const kept = reports.map(({ detail }) => detail);
    this.#withdraw(vni, (report) => report.code === code && !kept.includes(report.detail));
    for (const report of reports) this.warn(report, vni);
  }

  /** Withdraws the reports about a VNI that was removed or could not be added. */
  vniRemoved(vni: number): void {
    this.#withdraw(vni, () => true);
  }

  #withdraw(vni: number, matches: (report: Report) => boolean): void {
    for (const { report, vnis } of this.#active) if (matches(report)) vnis?.delete(vni);
    this.#active = this.#active.filter(({ vnis }) => vnis?.size !== 0);
  }

  #announce(report: Report, emit: Emit): void {
    const { code } = report;
    const isWarning = REPORTS[code].kind === 'warning';
    emit(isWarning ? 'warn' : 'info', { code }, reportText(report));
    if (isWarning) this.#events.publish({ type: 'warning', ...report });
  }
}
