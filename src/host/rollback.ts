/**
 * Stack of undo steps for changes made to the machine.
 *
 * A failed start and an ordinary stop run the same steps, each step once, in the reverse order of
 * their registration. A step that fails does not prevent the others from running.
 */
import { HostError } from './host-error.js';

export class Rollback {
  #steps: (() => Promise<void> | void)[] = [];

  /** Registers the step that reverts the change just made. */
  push(step: () => Promise<void> | void): void {
    this.#steps.push(step);
  }

  /** Runs all steps; a second call does nothing. @throws HostError naming the failures */
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
   * Runs `work`. If it fails, runs the registered steps and throws the error of `work`, which is
   * more useful than a failure of the cleanup.
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
