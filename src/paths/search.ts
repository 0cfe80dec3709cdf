/**
 * Searches the path MTU by probing (DPLPMTUD, RFC 8899 §4 and §5.3).
 *
 * The search works over any means that can tell whether a packet of a given size arrived. The
 * caller sends the packets.
 *
 * The smallest size is probed first: without a reply to it the result is unknown. Next is the
 * largest size that the local route carries, which usually arrives and ends the search. Otherwise
 * the search bisects the sizes in common use, then the range between the two common sizes that
 * enclose the result. Only an arrival raises the result. A size counts as too big when a hop
 * reports this, or after three probes without a reply. The smallest size without a reply is later
 * probed again with the full timeout, because a busy machine replies late. If even a size that
 * arrived earlier gets no reply any more, the result is unknown rather than small.
 */

/** Outcome of one probe. */
export type Outcome =
  | { readonly kind: 'arrived' }
  /** A hop or the local device rejected the packet. `mtu` is the reported MTU, 0 when none was. */
  | { readonly kind: 'too-big'; readonly mtu: number }
  | { readonly kind: 'silent' }
  /** The means cannot be used: no permission, no route, no host to probe. */
  | { readonly kind: 'unusable'; readonly why: string };

/**
 * Sends one packet with DF set and returns the outcome. Never throws.
 *
 * @param packetLen length in bytes, including the IP header
 * @param patient true for a timeout of one second, even if earlier replies were faster
 */
export type Probe = (packetLen: number, patient: boolean) => Promise<Outcome>;

export type Found =
  /**
   * A packet of `mtu` bytes arrives. If `exact`, a packet that is one byte longer does not arrive;
   * otherwise the search ended because it had sent its maximum number of packets.
   */
  | { readonly kind: 'found'; readonly mtu: number; readonly exact: boolean; readonly probes: number }
  /**
   * The smallest size got no reply, because of a firewall, a missing host or a path below the
   * allowed minimum.
   */
  | { readonly kind: 'unknown'; readonly why: string; readonly probes: number };

/** Called after each packet. */
export type Progress = (packetLen: number, outcome: Outcome['kind']) => void;

/** Number of unanswered packets after which a size counts as too big (MAX_PROBES of RFC 8899 
5.1.2). */
const ATTEMPTS = 3;
/** Maximum number of packets of one search. */
const BUDGET = 48;

/**
 * Common path MTUs, bytes, ascending: jumbo frames, FDDI, Ethernet, Ethernet less the overhead of
 * PPPoE, GRE, IPsec, WireGuard, GTP and other tunnels, the minimum of IPv6, some of RFC 1191 §7.
 */
const USUAL_MTUS: readonly number[] = [
  576, 1006, 1200, 1280, 1300, 1350, 1380, 1400, 1412, 1420, 1430, 1438, 1440, 1446, 1450, 1454, 1460, 1476,
  1480, 1492, 1500, 1550, 1600, 2002, 4000, 4352, 8000, 8192, 8900, 8950, 8951, 8970, 9000, 9001, 9180, 9216,
  16384, 32768,
];

/**
 * @param floor smallest size to probe, bytes: 576 or 1280
 * @param ceiling largest size that can leave this machine, bytes
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
  /** Largest size that arrived; initially the floor. */
  #good: number;
  /** Smallest size that does not arrive or cannot leave. */
  #bad: number;
  /** MTU reported by a hop, probed next because only an arrival proves it; 0 none. */
  #hint = 0;
  /** Last size that counted as too big because no reply came; 0 none. */
  #silentAt = 0;
  #patient = false;
  /** Cause of an unknown result; '' none. */
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
    // A path that failed during the search would look narrow, so the largest size that arrived is
    // probed again.
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

  /**
   * Probes the smallest unanswered size once more, with the full timeout.
   *
   * @returns true when it arrives and larger sizes have to be searched
   */
  async #wasLate(): Promise<boolean> {
    if (this.#patient || this.#silentAt !== this.#bad || this.#why !== '') return false;
    this.#patient = true;
    if (!(await this.#arrives(this.#bad))) return false;
    this.#good = this.#bad;
    this.#bad = this.#ceiling + 1;
    return this.#bad - this.#good > 1;
  }

  /**
   * Returns the next size to probe: the MTU that a hop reported, else the median of the remaining
   * common sizes, else one byte above a common size that arrived, else the midpoint.
   */
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
      else this.#applyReport(outcome.mtu, packetLen);
      return false;
    }
    this.#silentAt = packetLen;
    return false;
  }

  #applyReport(mtu: number, packetLen: number): void {
    if (packetLen <= this.#good) this.#why = `the path carries less than ${packetLen} bytes`;
    if (mtu <= this.#good || mtu >= packetLen) return;
    this.#hint = mtu;
    this.#bad = Math.min(this.#bad, mtu + 1);
  }

  #unknown(): Found {
    return { kind: 'unknown', why: this.#why || 'no answer', probes: this.#probes };
  }
}
