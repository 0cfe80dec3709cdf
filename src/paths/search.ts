/**
 * The search for the largest packet that a path carries (datagram packetization layer path MTU discovery, RFC 8899 §4
 * and §5.3), over anything that can tell whether one packet of a size arrived. Pure: packets, clock and network are the
 * caller's.
 *
 * The smallest size is asked first: without an answer to that nothing can be said. Then the largest that the way out
 * carries, which usually arrives and ends it. Else the sizes that networks really have are bisected, then what lies
 * between the two that are left. Only an arrival raises the result. Too big is what a hop says, or silence three
 * times; the smallest size that was silent is asked again with full patience, as a busy machine answers late. A path that
 * has gone silent altogether gives no result instead of a small one.
 */

/** What became of one probe. */
export type Outcome =
  | { readonly kind: 'arrived' }
  /** A hop, or our own device, refused it. `mtu`: what it said it carries, 0: nothing. */
  | { readonly kind: 'too-big'; readonly mtu: number }
  | { readonly kind: 'silent' }
  /** This means cannot be used at all: no rights, no route, nobody to ask. */
  | { readonly kind: 'unusable'; readonly why: string };

/**
 * Sends one packet of so many bytes, IP header included, with DF set, and tells what became of it. Never throws.
 * @param patient true for a timeout of one second, however soon earlier answers came
 */
export type Probe = (packetLen: number, patient: boolean) => Promise<Outcome>;

export type Found =
  /** `mtu` arrives. `exact`: one byte more does not; else the search ran out of packets. */
  | { readonly kind: 'found'; readonly mtu: number; readonly exact: boolean; readonly probes: number }
  /** Not even the smallest size was answered: a firewall, nobody there, or a path narrower than it may be. */
  | { readonly kind: 'unknown'; readonly why: string; readonly probes: number };

/** Told after each packet. */
export type Progress = (packetLen: number, outcome: Outcome['kind']) => void;

/** Silence counts as "too big" after so many packets of one size (MAX_PROBES of RFC 8899 §5.1.2). */
const ATTEMPTS = 3;
/** Packets of one search, at most. */
const BUDGET = 48;

/**
 * Sizes that paths have, bytes: jumbo frames, FDDI, Ethernet and what PPPoE, GRE, IPsec, WireGuard, GTP and other tunnels
 * leave of it, the minimum of IPv6, some of RFC 1191 §7. Ascending.
 */
const USUAL_MTUS: readonly number[] = [
  576, 1006, 1200, 1280, 1300, 1350, 1380, 1400, 1412, 1420, 1430, 1438, 1440, 1446, 1450, 1454, 1460, 1476,
  1480, 1492, 1500, 1550, 1600, 2002, 4000, 4352, 8000, 8192, 8900, 8950, 8951, 8970, 9000, 9001, 9180, 9216,
  16384, 32768,
];

/**
 * @param floor smallest size worth knowing, bytes: 576 or 1280 @param ceiling largest that can leave this machine
 */
export async function searchPathMtu(
  probe: Probe,
  floor: number,
  ceiling: number,
  progress: Progress = () => {},
): Promise<Found> {
  return new Search(probe, floor, ceiling, progress).run();
}

class Search {
  readonly #probe: Probe;
  readonly #progress: Progress;
  readonly #ceiling: number;
  /** Arrived; to begin with, what must. */
  #good: number;
  /** Does not arrive, or cannot leave. */
  #bad: number;
  /** What a hop said it carries: tried next, for only an arrival proves it. 0: nothing. */
  #hint = 0;
  /** Last size that was taken for too big because of silence; 0: none. */
  #silentAt = 0;
  #patient = false;
  /** Why nothing can be said. */
  #why = '';
  #probes = 0;

  constructor(probe: Probe, floor: number, ceiling: number, progress: Progress) {
    this.#probe = probe;
    this.#progress = progress;
    this.#good = floor;
    this.#ceiling = Math.max(floor, ceiling);
    this.#bad = this.#ceiling + 1;
  }

  async run(): Promise<Found> {
    if (!(await this.#arrives(this.#good))) return this.#unknown();
    do await this.#bisect();
    while (await this.#wasLate());
    // A path that was lost meanwhile looks like a narrow one: what arrived must still arrive.
    const isLost = this.#silentAt > 0 && !(await this.#arrives(this.#good));
    if (isLost || this.#why !== '') return this.#unknown();
    const exact = this.#bad - this.#good <= 1;
    return { kind: 'found', mtu: this.#good, exact, probes: this.#probes };
  }

  async #bisect(): Promise<void> {
    for (let size = this.#ceiling; this.#bad - this.#good > 1; size = this.#next()) {
      if (this.#probes >= BUDGET || this.#why !== '') return;
      if (await this.#arrives(size)) this.#good = size;
      else this.#bad = Math.min(this.#bad, size);
    }
  }

  /** Asks the smallest size that was silent once more. @returns true when it arrives, and larger sizes are to be searched */
  async #wasLate(): Promise<boolean> {
    if (this.#patient || this.#silentAt !== this.#bad || this.#why !== '') return false;
    this.#patient = true;
    if (!(await this.#arrives(this.#bad))) return false;
    this.#good = this.#bad;
    this.#bad = this.#ceiling + 1;
    return this.#bad - this.#good > 1;
  }

  /** The middle of the usual sizes that are still possible; between two of them one byte more, then halves. */
  #next(): number {
    const hint = this.#hint;
    this.#hint = 0;
    if (hint > this.#good && hint < this.#bad) return hint;
    const usual = USUAL_MTUS.filter((size) => size > this.#good && size < this.#bad);
    if (usual.length > 0) return usual[usual.length >> 1];
    if (USUAL_MTUS.includes(this.#good)) return this.#good + 1;
    return (this.#good + this.#bad) >> 1;
  }

  async #arrives(packetLen: number): Promise<boolean> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      this.#probes++;
      const outcome = await this.#probe(packetLen, this.#patient);
      this.#progress(packetLen, outcome.kind);
      if (outcome.kind === 'arrived') return true;
      if (outcome.kind === 'silent') continue;
      if (outcome.kind === 'unusable') this.#why = outcome.why;
      else this.#heed(outcome.mtu, packetLen);
      return false;
    }
    this.#silentAt = packetLen;
    return false;
  }

  #heed(mtu: number, packetLen: number): void {
    if (packetLen <= this.#good) this.#why = `the path carries less than ${packetLen} bytes`;
    if (mtu <= this.#good || mtu >= packetLen) return;
    this.#hint = mtu;
    this.#bad = Math.min(this.#bad, mtu + 1);
  }

  #unknown(): Found {
    return { kind: 'unknown', why: this.#why || 'no answer', probes: this.#probes };
  }
}
