/**
 * Kernel offloads in use: one cell per offload, in memory that all threads share.
 *
 * The main thread sets the cells at start, after probing the kernel. When the kernel refuses an
 * offload later, the worker marks the refusal in the cell, and from then on no thread uses the
 * offload. Only a restart clears a refusal.
 *
 * A cell is read and written atomically, without locks. A worker that reads a cell just before
 * another worker marks a refusal still uses the offload, and the kernel refuses it a second time.
 * The last cell is a change counter, so that the check in each round is one load.
 */
import type { Report } from './report.js';

const BY_KERNEL =
  'the kernel completes the checksum or segments such frames before they are read from the TAP';

/**
 * Every offload: its name and the consequence without it. The names are the kernel's; the prefix
 * GSO_ marks superframes that are written to the TAP.
 */
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

/** Cell of the change counter. */
const CHANGES = OFFLOADS.length;

/** Values of a cell, besides the negative errno of a refusal. */
const UNUSED = 0;
const IN_USE = 1;

/** Offloads refused with the same error and the same consequence. */
export interface Refused {
  readonly names: readonly OffloadName[];
  /** Negative errno. */
  readonly error: number;
}

export class Offloads {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Int32Array;

  /** @param buffer shared cells of another instance; without it, no offload is in use */
  constructor(buffer = new SharedArrayBuffer((CHANGES + 1) * 4)) {
    this.buffer = buffer;
    this.#cells = new Int32Array(buffer);
  }

  /** Marks an offload as available and enabled. A refused offload stays refused. */
  grant(name: OffloadName): void {
    Atomics.compareExchange(this.#cells, INDEX[name], UNUSED, IN_USE);
    Atomics.add(this.#cells, CHANGES, 1);
  }

  /** Disables an offload for the time being. A refused offload stays refused. */
  withdraw(name: OffloadName): void {
    Atomics.compareExchange(this.#cells, INDEX[name], IN_USE, UNUSED);
    Atomics.add(this.#cells, CHANGES, 1);
  }

  /**
   * Marks an offload as refused by the kernel.
   *
   * @param error negative errno
   * @returns true if no thread has marked a refusal of the offload before
   */
  refuse(name: OffloadName, error: number): boolean {
    const isFirst = Atomics.exchange(this.#cells, INDEX[name], error) >= UNUSED;
    Atomics.add(this.#cells, CHANGES, 1);
    return isFirst;
  }

  /** Change counter. */
  get changes(): number {
    return this.#cells[CHANGES];
  }

  inUse(name: OffloadName): boolean {
    return this.#cells[INDEX[name]] === IN_USE;
  }

  /** Names of the offloads in use. */
  names(): OffloadName[] {
    return OFFLOADS.map(([name]) => name).filter((name) => this.inUse(name));
  }

  /** Refused offloads; adjacent offloads with the same error and consequence form one group. */
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

/** @param error name of the errno */
export function refusalReport(names: readonly OffloadName[], error: string): Report {
  return {
    code: 'offload_refused',
    detail: `the kernel refuses ${names.join(', ')} (${error})`,
    why: withoutOf(names),
    cure: 'frames pass, at a higher cost; to try again, update the kernel or driver and restart vtepd',
  };
}

function withoutOf([name]: readonly OffloadName[]): string {
  return OFFLOADS[INDEX[name]][1];
}
