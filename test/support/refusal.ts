/**
 * Refusal of offloads by the kernel, for labs.
 *
 * The built daemon runs with refuse.c preloaded before libc. That library fails the system calls
 * that request the refused offloads; all other calls reach the real kernel.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { run } from './command.js';

const SOURCE = new URL('refuse.c', import.meta.url).pathname;

export type ErrorName = keyof typeof constants.errno;

export class Refusal {
  /** Environment variables for the daemon. */
  readonly env: Record<string, string>;
  readonly #log: string;
  readonly #from: string;

  private constructor(dir: string, rules: string, later: boolean) {
    this.#log = join(dir, 'log');
    this.#from = join(dir, 'from');
    writeFileSync(this.#log, '');
    this.env = { LD_PRELOAD: libraryIn(dir), REFUSE: rules, REFUSE_LOG: this.#log };
    if (later) this.env.REFUSE_FROM = this.#from;
  }

  /**
   * @param errors errno names, indexed by offload (src/exchange/offloads.ts)
   * @param later true: refuse from `begin` on; false: from the start
   */
  static async of(t: Test, errors: Record<string, ErrorName>, later = false): Promise<Refusal> {
    const dir = mkdtempSync(join(tmpdir(), 'vtepd-refusal-'));
    t.teardown(() => rmSync(dir, { recursive: true, force: true }));
    await run(
      `cc -std=gnu11 -D_GNU_SOURCE -O1 -Wall -Werror -shared -fPIC -o ${libraryIn(dir)} ${SOURCE} -ldl`,
    );
    const rules = Object.entries(errors).map(([name, error]) => `${name}=${constants.errno[error]}`);
    return new Refusal(dir, rules.join(','), later);
  }

  begin(): void {
    writeFileSync(this.#from, '');
  }

  /** Number of refusals so far. */
  get count(): number {
    return statSync(this.#log).size;
  }
}

function libraryIn(dir: string): string {
  return join(dir, 'refuse.so');
}
