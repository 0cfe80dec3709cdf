/**
 * Receive group: assigns the datagrams of each peer to a receive socket.
 *
 * Each worker has these sockets per address family, numbered by their place in the group:
 *
 *     places 0 … 3   plain: the kernel splits trains. For peers that may send inner UDP superframes
 *                    unsplit, so that a VM would choose the segment size
 *                    (docs/architecture/offloads.md, Same-host peers)
 *     places 4 … 7   UDP_GRO: trains arrive whole. For peers known to send only genuine trains
 *     place 8        strangers: a small buffer, read a little at a time
 *
 * Peers with plain sockets are distributed evenly over the plain sockets, all other peers evenly
 * over the UDP_GRO sockets. A peer keeps its place while other peers are added and removed. One
 * program has room for about 1,300 sources per address family (600 with several workers). If there
 * are more sources, the program lists only peers whose trains arrive whole, up to its limit; all
 * other sources, including strangers, share the first plain socket.
 *
 * An outdated program is harmless, because the source of each datagram is checked regardless of the
 * socket that received it.
 */
import { randomInt } from 'node:crypto';
import type { Shim } from '../abi/binding.js';
import { RECEIVE_SHARES, RECEIVE_SOCKETS, STRANGERS_SOCKET } from '../abi/limits.js';
import { choiceProgram, type Placed, SEED_WORDS, sourceKey } from './socket-choice.js';
import type { ReceiveFds } from './underlay-sockets.js';

/** Number of sources in a shortened program: fits with any number of workers. */
const FEWER_SOURCES = 600;

export interface Source {
  /** Canonical text of the address. */
  readonly text: string;
  readonly family: 4 | 6;
  /** 16 bytes, IPv4 in the first four. */
  readonly bytes: Uint8Array;
  /** True when trains from this source may arrive whole. */
  readonly trains: boolean;
}

export class ReceiveGroup {
  readonly #shim: Shim;
  readonly #fds: readonly ReceiveFds[];
  readonly #seed = Array.from({ length: SEED_WORDS }, () => randomInt(2 ** 16));
  readonly #places = new Map<string, number>();
  /** The program attached last, by address family. */
  readonly #attached = new Map<number, Uint8Array>();

  constructor(shim: Shim, fds: readonly ReceiveFds[]) {
    this.#shim = shim;
    this.#fds = fds;
  }

  /** Place of a peer; undefined when the source is no peer. */
  place(text: string): number | undefined {
    return this.#places.get(text);
  }

  /**
   * Directs datagrams of these sources to their sockets, and all others to the strangers' socket.
   *
   * @param sources peers, each address once
   * @param anyone true when strangers are accepted and share a plain socket with peers
   * @returns 0, or a negative errno when the program could not be attached and the previous one
   * stays
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

  /**
   * Returns the sources sorted by place. Plain sockets have the lower places, so the plain socket
   * wins when two addresses share a key.
   */
  #placed(sources: readonly Source[]): Placed[] {
    return sources
      .map(({ text, family, bytes }) => ({
        key: sourceKey(family, bytes, this.#seed),
        place: this.#places.get(text)!,
      }))
      .sort((a, b) => a.place - b.place);
  }

  /** Assigns the least used place to each source that is new or whose `trains` has changed. */
  #assign(sources: readonly Source[]): void {
    const present = new Set(sources.map(({ text }) => text));
    for (const text of this.#places.keys()) if (!present.has(text)) this.#places.delete(text);
    const held = new Int32Array(2 * RECEIVE_SHARES);
    const unplaced: Source[] = [];
    for (const source of sources) {
      const place = this.#places.get(source.text);
      if (place !== undefined && place >= RECEIVE_SHARES === source.trains) held[place]++;
      else unplaced.push(source);
    }
    for (const { text, trains } of unplaced) {
      const first = trains ? RECEIVE_SHARES : 0;
      let place = first;
      for (let k = first + 1; k < first + RECEIVE_SHARES; k++) if (held[k] < held[place]) place = k;
      held[place]++;
      this.#places.set(text, place);
    }
  }
}
