/**
 * A ping and a TCP connection that run while the world changes, and the outage that they see.
 *
 *     client ──── ping 20 times a second, TCP echo 20 times a second ────► server
 */
import type { Running } from './command.js';
import type { Lab } from './lab.js';
import type { Namespace } from './netns.js';
import { eventually } from './wait.js';

const PORT = 7070;
/** Longest wait for the traffic to go on, ms. */
const LIMIT_MS = 60_000;

export class SteadyTraffic {
  readonly #ping: Running;
  readonly #tcp: Running;

  private constructor(ping: Running, tcp: Running) {
    this.#ping = ping;
    this.#tcp = tcp;
  }

  /** @param address address of the server @returns when both have been answered */
  static async start(
    lab: Lab,
    client: Namespace,
    server: Namespace,
    address: string,
  ): Promise<SteadyTraffic> {
    const listener = lab.keep(server.tool('steady-tcp.mjs', 'server', PORT));
    await listener.untilOutput(/listening/);
    const ping = lab.keep(client.start(`ping -n -D -i 0.05 -W 1 ${address}`));
    const tcp = lab.keep(client.tool('steady-tcp.mjs', 'client', address, PORT));
    await Promise.all([ping.untilOutput(/bytes from/), tcp.untilOutput(/echo/)]);
    return new SteadyTraffic(ping, tcp);
  }

  /** Waits until no ping is answered any more. */
  async broken(): Promise<void> {
    await eventually('the pings to be unanswered', () => Date.now() - lastOf(this.#answers()) > 700);
  }

  /**
   * Waits until ping and TCP pass again.
   *
   * @param sinceMs end of the cause, wall clock
   * @returns time from the end of the cause to the first answer, ms
   */
  async passes(sinceMs: number): Promise<{ ping: number; tcp: number }> {
    const first = (times: () => number[], what: string) =>
      eventually(`${what} to pass again`, () => times().find((time) => time > sinceMs), LIMIT_MS);
    const ping = await first(() => this.#answers(), 'the ping');
    const tcp = await first(() => this.#echoes(), 'the TCP connection');
    return { ping: Math.round(ping - sinceMs), tcp: Math.round(tcp - sinceMs) };
  }

  /** Longest time without an answer since a moment, ms. */
  longestGap(sinceMs: number): number {
    const times = [sinceMs, ...this.#answers().filter((time) => time > sinceMs)];
    return Math.round(Math.max(...times.slice(1).map((time, i) => time - times[i])));
  }

  /** Times of the answered pings, ms of the wall clock. */
  #answers(): number[] {
    return [...this.#ping.stdout.matchAll(/^\[(\d+\.\d+)\].*bytes from/gm)].map(([, s]) => Number(s) * 1000);
  }

  #echoes(): number[] {
    return [...this.#tcp.stdout.matchAll(/^echo (\d+)$/gm)].map(([, ms]) => Number(ms));
  }
}

function lastOf(times: readonly number[]): number {
  return times.at(-1) ?? 0;
}
