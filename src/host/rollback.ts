/**
 * What has been changed on the machine and how each change is taken back. A failed start and an ordinary stop
 * are the same thing here: the steps run once, last one first, and a step that fails does not keep the others
 * from running.
 */
import { HostError } from './host-error.js';

export class Rollback {
  #steps: (() => Promise<void> | void)[] = [];

  /** Registers how to take back what was just done. */
  push(step: () => Promise<void> | void): void {
    this.#steps.push(step);
  }

  /** Takes everything back; a second call does nothing. @throws HostError naming what could not be taken back */
  async run(): Promise<void> {
    const failures: string[] = [];
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        failures.push((error as Error).message);
      }
    }
    if (failures.length > 0) throw new HostError(`could not clean up: ${failures.join('; ')}`);
  }

  /**
   * Runs `work`; when it fails, takes back what it had registered and throws its own error, which says more
   * than any failure of the cleaning up would.
   */
  async guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.run().catch(() => undefined);
      throw error;
    }
  }
}
