/**
 * The receive group at work: which socket each peer's datagrams come to, of each family and worker.
 *
 *     places 0 … 3   plain: the kernel cuts trains up. Peers whose inner UDP superframes may arrive uncut: there a segment
 *                    size would be one that a VM chose (docs/architecture.md, Same-host peers)
 *     places 4 … 7   UDP_GRO: trains arrive whole. Peers that are known to send true ones only
 *     place 8        strangers: a small buffer, read a little at a time
 *
 * Peers of a kind are spread evenly, and stay where they are while others come and go: each queue is its peers' share. A
 * program holds some 1,300 sources of a family (with several workers 600). With more, peers whose trains come whole are in
 * it as far as they fit, and everybody else shares the first plain socket, strangers too.
 *
 * A program that is out of date does no harm: every datagram is judged by its source, whichever socket received it.
 */
import { randomInt } from 'node:crypto';
import type { Shim } from '../abi/binding.js';
import { RECEIVE_SHARES, RECEIVE_SOCKETS, STRANGERS_SOCKET } from '../abi/limits.js';
import { choiceProgram, type Placed, SEED_WORDS, sourceKey } from './socket-choice.js';
import type { ReceiveFds } from './underlay-sockets.js';

/** Sources of a program that is cut short: they fit in any case. */
const FEWER_SOURCES = 600;

export interface Source {
  /** Canonical text of the address. */
  readonly text: string;
  readonly family: 4 | 6;
  /** 16 bytes, IPv4 in the first four. */
  readonly bytes: Uint8Array;
  /** Trains of it may come whole. */
  readonly trains: boolean;
}

export class ReceiveGroup {
  readonly #shim: Shim;
  readonly #fds: readonly ReceiveFds[];
  readonly #seed = Array.from({ length: SEED_WORDS }, () => randomInt(2 ** 16));
  readonly #places = new Map<string, number>();
  /** The program attached last, by family. */
  readonly #attached = new Map<number, Uint8Array>();

  constructor(shim: Shim, fds: readonly ReceiveFds[]) {
    this.#shim = shim;
    this.#fds = fds;
  }

  /** Place of a source that is a peer; undefined: it is none, or there is one socket for all. */
  place(text: string): number | undefined {
    return this.#places.get(text);
  }

  /**
   * Leads datagrams of these sources to their sockets from now on, and others to the strangers' one.
   *
   * @param sources each address once
   * @param anyone strangers are accepted: they are no worse than peers
   * @returns 0, or the negative errno of the kernel that took no program: the one before holds
   */
  steer(sources: readonly Source[], anyone: boolean): number {
    this.#assign(sources);
    const errors = ([4, 6] as const).map((family) => this.#attach(family, sources, anyone));
    return errors[0] || errors[1];
  }

  #attach(family: 4 | 6, sources: readonly Source[], anyone: boolean): number {
    const fds = family === 4 ? this.#fds[0].ipv4 : this.#fds[0].ipv6;
    if (fds.length < RECEIVE_SOCKETS) return 0;
    const program = this.#program(
      family,
      sources.filter((source) => source.family === family),
      anyone,
    );
    const before = this.#attached.get(family);
    if (before !== undefined && Buffer.compare(before, program) === 0) return 0;
    const error = this.#shim.udpSelect(fds[0], program);
    if (error === 0) this.#attached.set(family, program);
    return error;
  }

  #program(family: 4 | 6, sources: readonly Source[], anyone: boolean): Uint8Array {
    const base = { family, workers: this.#fds.length, sockets: RECEIVE_SOCKETS, seed: this.#seed };
    const whole = choiceProgram({
      ...base,
      others: anyone ? 0 : STRANGERS_SOCKET,
      sources: this.#placed(sources),
    });
    if (whole !== undefined) return whole;
    const some = sources.filter(({ trains }) => trains).slice(0, FEWER_SOURCES);
    return choiceProgram({ ...base, others: 0, sources: this.#placed(some) })!;
  }

  /** If two addresses share a key, the plain socket wins. */
  #placed(sources: readonly Source[]): Placed[] {
    return sources
      .map(({ text, family, bytes }) => ({
        key: sourceKey(family, bytes, this.#seed),
        place: this.#places.get(text)!,
      }))
      .sort((a, b) => a.place - b.place);
  }

  /** A source that is new, or has changed its kind, gets the least used place. */
  #assign(sources: readonly Source[]): void {
    const present = new Set(sources.map(({ text }) => text));
    for (const text of this.#places.keys()) if (!present.has(text)) this.#places.delete(text);
    const held = new Int32Array(2 * RECEIVE_SHARES);
    const homeless: Source[] = [];
    for (const source of sources) {
      const place = this.#places.get(source.text);
      if (place !== undefined && place >= RECEIVE_SHARES === source.trains) held[place]++;
      else homeless.push(source);
    }
    for (const { text, trains } of homeless) {
      const first = trains ? RECEIVE_SHARES : 0;
      let place = first;
      for (let k = first + 1; k < first + RECEIVE_SHARES; k++) if (held[k] < held[place]) place = k;
      held[place]++;
      this.#places.set(text, place);
    }
  }
}
