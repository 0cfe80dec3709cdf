/**
 * Runs a data-plane thread from its event loop, to which the sockets of `node:dgram` belong: a round whenever a datagram has
 * come, a descriptor of the wait set is ready, or a tenth of a second has passed.
 */
import type { Shim } from '../../abi/binding.js';
import type { DgramPort } from './dgram.js';

const PERIOD_MS = 100;

/** What is run. */
export interface Rounds {
  /** True while something waits that no descriptor reports. */
  readonly isPending: boolean;
  /** Runs a round. @param timeoutMs longest wait @returns false after the last one */
  step(timeoutMs: number): boolean;
}

/** @param waitFd epoll of the wait set */
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
