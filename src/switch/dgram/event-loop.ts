/**
 * Runs a data-plane thread from its event loop.
 *
 * The sockets of `node:dgram` belong to the event loop. A round runs whenever a datagram has
 * arrived, a descriptor of the wait set is ready, or 100 ms have passed.
 */
import type { Shim } from '../../abi/binding.js';
import type { DgramPort } from './dgram.js';

const PERIOD_MS = 100;

/** The rounds to run. */
export interface Rounds {
  /** True while work waits that no descriptor reports. */
  readonly isPending: boolean;
  /**
   * Runs a round.
   *
   * @param timeoutMs maximum wait, ms
   * @returns false after the last round
   */
  step(timeoutMs: number): boolean;
}

/** @param waitFd epoll descriptor of the wait set */
export function runFromEventLoop(port: DgramPort, shim: Shim, waitFd: number, rounds: Rounds): void {
  let isDue = false;
  let hasEnded = false;
  const round = () => {
    if (hasEnded) return;
    hasEnded = !rounds.step(0);
    if (hasEnded) {
      clearInterval(timer);
      shim.pollStop(poll);
      port.close();
    } else if (rounds.isPending && !isDue) {
      isDue = true;
      setImmediate(() => {
        isDue = false;
        round();
      });
    }
  };
  const timer = setInterval(round, PERIOD_MS);
  const poll = shim.pollStart(waitFd, round);
  port.onWork = round;
}
