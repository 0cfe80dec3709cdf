/**
 * What the kernel does for many frames at once, and whether it does: one cell an offload, in memory that all threads
 * share. The main thread marks what it was granted at start; a worker that is refused one later says so here, and
 * from then on nobody uses it. There is no way back up from a refusal but a restart.
 *
 * A cell is read and written as one, without locks: a worker that looks a moment too early is refused once more. One
 * cell more counts the changes, so that who looks once a round need not look at all of them.
 */

const BY_KERNEL = 'the kernel sums or cuts up such frames itself before they are read from the TAP';

/** Every offload: its name (the kernel's words; GSO_ is a superframe written to the TAP), and what happens without it. */
export const OFFLOADS = [
  ['UDP_GRO', 'datagrams are received one by one'],
  ['UDP_SEGMENT', 'datagrams are sent one by one'],
  ['UDP_TUNNEL_GSO', 'superframes are cut up before they are sent'],
  ['TCX_FLOWS', 'every frame of a TCP flow goes through user space'],
  ['TUN_F_CSUM', BY_KERNEL],
  ['TUN_F_TSO4', BY_KERNEL],
  ['TUN_F_TSO6', BY_KERNEL],
  ['TUN_F_TSO_ECN', BY_KERNEL],
  ['TUN_F_USO4', BY_KERNEL],
  ['TUN_F_USO6', BY_KERNEL],
  ['GSO_TCP', 'segments of TCP are written to the TAP one by one'],
  ['GSO_UDP_L4', 'datagrams of the overlay are written to the TAP one by one'],
] as const;

export type OffloadName = (typeof OFFLOADS)[number][0];

const INDEX = Object.fromEntries(OFFLOADS.map(([name], index) => [name, index])) as Record<
  OffloadName,
  number
>;

/** Cell that counts changes. */
const CHANGES = OFFLOADS.length;

/** Values of a cell beside the negative errno of a refusal. */
const UNUSED = 0;
const IN_USE = 1;

/** Offloads that were refused alike. */
export interface Refused {
  readonly names: readonly OffloadName[];
  /** Negative errno. */
  readonly error: number;
}

export class Offloads {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Int32Array;

  /** @param buffer of another instance, to share its cells; without, none is in use */
  constructor(buffer = new SharedArrayBuffer((CHANGES + 1) * 4)) {
    this.buffer = buffer;
    this.#cells = new Int32Array(buffer);
  }

  /** The kernel has it, and it is wanted. One that was refused stays so. */
  grant(name: OffloadName): void {
    Atomics.compareExchange(this.#cells, INDEX[name], UNUSED, IN_USE);
    Atomics.add(this.#cells, CHANGES, 1);
  }

  /** It is not wanted for the time being; a refusal stays. */
  withdraw(name: OffloadName): void {
    Atomics.compareExchange(this.#cells, INDEX[name], IN_USE, UNUSED);
    Atomics.add(this.#cells, CHANGES, 1);
  }

  /** @param error negative errno @returns true for the first who says so, on any thread */
  refuse(name: OffloadName, error: number): boolean {
    const isFirst = Atomics.exchange(this.#cells, INDEX[name], error) >= UNUSED;
    Atomics.add(this.#cells, CHANGES, 1);
    return isFirst;
  }

  /** Another number after each change. */
  get changes(): number {
    return this.#cells[CHANGES];
  }

  inUse(name: OffloadName): boolean {
    return this.#cells[INDEX[name]] === IN_USE;
  }

  /** Names of those in use. */
  names(): OffloadName[] {
    return OFFLOADS.map(([name]) => name).filter((name) => this.inUse(name));
  }

  /** What was refused; neighbours with the same error and consequence are told of together. */
  refused(): Refused[] {
    const groups: { names: OffloadName[]; error: number }[] = [];
    for (const [name, without] of OFFLOADS) {
      const error = this.#cells[INDEX[name]];
      const last = groups.at(-1);
      if (error >= UNUSED) continue;
      if (last?.error === error && withoutOf(last.names) === without) last.names.push(name);
      else groups.push({ names: [name], error });
    }
    return groups;
  }
}

/** One line for people. @param error name of the errno */
export function refusalText(names: readonly OffloadName[], error: string): string {
  return `the kernel refuses ${names.join(', ')} (${error}): ${withoutOf(names)}`;
}

function withoutOf([name]: readonly OffloadName[]): string {
  return OFFLOADS[INDEX[name]][1];
}
