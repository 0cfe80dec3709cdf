/**
 * What a running VTEP has to warn of: said once in the log and as an event, shown in the status for as long as what it is
 * about is there. A warning about VNIs goes with the last of them; one about the machine stays.
 */
import type { Events } from '../exchange/events.js';
import type { Logger } from '../log/log.js';

export interface Warning {
  readonly code: string;
  readonly detail: string;
}

interface Standing extends Warning {
  /** Whom it is about; undefined: no VNI. */
  readonly vnis: Set<number> | undefined;
}

export class Warnings {
  readonly #log: Logger;
  readonly #events: Events;
  #standing: readonly Standing[] = [];

  constructor(log: Logger, events: Events) {
    this.#log = log;
    this.#events = events;
  }

  get list(): readonly Warning[] {
    return this.#standing.map(({ code, detail }) => ({ code, detail }));
  }

  /** What comes again, as two names with one address may at every lookup, is said once. @param vni that it is about */
  warn(code: string, detail: string, vni?: number): void {
    const same = this.#standing.find((warning) => warning.code === code && warning.detail === detail);
    if (same) {
      if (vni !== undefined) same.vnis?.add(vni);
      return;
    }
    this.#standing = [
      ...this.#standing,
      { code, detail, vnis: vni === undefined ? undefined : new Set([vni]) },
    ];
    this.#log.warn({ code }, detail);
    this.#events.publish({ type: 'warning', code, detail });
  }

  /** What is to be warned of about a VNI by this code: what was said by it before and is not among these is withdrawn. */
  replace(code: string, details: readonly string[], vni: number): void {
    this.#withdraw(vni, (warning) => warning.code === code && !details.includes(warning.detail));
    for (const detail of details) this.warn(code, detail, vni);
  }

  /** A VNI is gone, or could not be had. */
  vniRemoved(vni: number): void {
    this.#withdraw(vni, () => true);
  }

  #withdraw(vni: number, which: (warning: Warning) => boolean): void {
    for (const warning of this.#standing) if (which(warning)) warning.vnis?.delete(vni);
    this.#standing = this.#standing.filter(({ vnis }) => vnis?.size !== 0);
  }
}
