/**
 * Active warnings of a running VTEP.
 *
 * A warning is logged and published as an event once, and shown in the status while its cause
 * exists. A warning about VNIs is withdrawn when the last of these VNIs is removed; a warning about
 * the machine stays.
 */
import type { Events } from '../exchange/events.js';
import type { Logger } from '../log/log.js';

export interface Warning {
  readonly code: string;
  readonly detail: string;
}

interface ActiveWarning extends Warning {
  /** VNIs that the warning is about; undefined: the warning is about the machine. */
  readonly vnis: Set<number> | undefined;
}

export class Warnings {
  readonly #log: Logger;
  readonly #events: Events;
  #active: readonly ActiveWarning[] = [];

  constructor(log: Logger, events: Events) {
    this.#log = log;
    this.#events = events;
  }

  get list(): readonly Warning[] {
    return this.#active.map(({ code, detail }) => ({ code, detail }));
  }

  /**
   * Adds a warning. While a warning is active, a warning with the same code and text is not
   * reported.
   *
   * @param vni VNI that the warning is about
   */
  warn(code: string, detail: string, vni?: number): void {
    const same = this.#active.find((warning) => warning.code === code && warning.detail === detail);
    if (same) {
      if (vni !== undefined) same.vnis?.add(vni);
      return;
    }
    this.#active = [...this.#active, { code, detail, vnis: vni === undefined ? undefined : new Set([vni]) }];
    this.#log.warn({ code }, detail);
    this.#events.publish({ type: 'warning', code, detail });
  }

  /**
   * Replaces the warnings of this code about a VNI: earlier warnings that are not in `details` are
   * withdrawn.
   */
  replace(code: string, details: readonly string[], vni: number): void {
    this.#withdraw(vni, (warning) => warning.code === code && !details.includes(warning.detail));
    for (const detail of details) this.warn(code, detail, vni);
  }

  /** Withdraws the warnings about a VNI that was removed or could not be added. */
  vniRemoved(vni: number): void {
    this.#withdraw(vni, () => true);
  }

  #withdraw(vni: number, matches: (warning: Warning) => boolean): void {
    for (const warning of this.#active) if (matches(warning)) warning.vnis?.delete(vni);
    this.#active = this.#active.filter(({ vnis }) => vnis?.size !== 0);
  }
}
