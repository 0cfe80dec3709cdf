/**
 * Kernels that refuse an offload, for labs: the daemon runs with refuse.c in front of libc, which answers the system
 * calls that ask for it. The daemon is the built one, and everything that is not refused is the real kernel's answer.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { run } from './command.js';

const SOURCE = new URL('refuse.c', import.meta.url).pathname;

export type ErrorName = keyof typeof constants.errno;

export class Refusal {
  /** What the daemon is to be started with. */
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

  /** @param errors by name of the offload (src/exchange/offloads.ts) @param later from `begin` on, not from the start */
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

  /** How often the daemon was refused. */
  get count(): number {
    return statSync(this.#log).size;
  }
}

function libraryIn(dir: string): string {
  return join(dir, 'refuse.so');
}
