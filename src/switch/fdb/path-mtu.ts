/**
 * What the way to each peer carries: the path MTU of the underlay, one value a peer row, and the frame size that follows
 * from it. Kept where peers are, so that on a frame's way it is one load and one compare (`PeerTable.frameLimit`); all
 * the rest is done when something changes.
 *
 * A path is what the main thread knows of it, from the routing table and from probes, lowered by what the network reports
 * (RFC 1191, RFC 8201): an ICMP message, or the kernel's own refusal. A report holds for ten minutes after it was heard
 * last; then the value from before is tried again. It never raises a path, and never lowers it below what every host of its
 * family takes, 576 or 1280 bytes: that a report is genuine cannot be told from its bytes.
 *
 * Reports name an address, and each VNI that has this peer has a row of its own: all of them are lowered. Rows of sources
 * that are not configured come and go without a word; theirs are opened when the first frame asks.
 *
 * Owned by the data-plane thread. Time is passed in. Nothing here allocates on a frame's way.
 */
import { AF_INET, ROW_SHIFT } from '../../abi/peer-row.js';
import { type Counters, P_PATH_MTU } from '../../exchange/counters.js';
import { ETHERNET_LEN } from '../../wire/ethernet.js';
import { IPV6_MIN_MTU } from '../../wire/ipv6.js';
import { ENCAP_LEN } from '../../wire/vxlan.js';
import type { PeerTable } from './peer-table.js';
import type { VniTable } from './vni-table.js';

/** How long a report is believed, seconds (RFC 1191 §6.3, RFC 8201 §5.3). */
export const REPORT_LIFE_S = 600;

/** An Ethernet path: taken while no route is known. */
const USUAL_MTU = 1500;
/** What every IPv4 host takes (RFC 791 §3.1). */
const IPV4_FLOOR = 576;

export class PathMtu {
  readonly #peers: PeerTable;
  readonly #vnis: VniTable;
  readonly #counters: Counters;
  /** As the main thread knows it, bytes; 0: it does not. */
  readonly #knownMtu: Int32Array;
  /** As the network reported it, bytes; 0: it did not. */
  readonly #reportedMtu: Int32Array;
  /** When the report was heard last, seconds. */
  readonly #reportedS: Int32Array;
  /** Rows with a report. */
  readonly #reported = new Set<number>();

  constructor(peers: PeerTable, vnis: VniTable, counters: Counters) {
    const rows = peers.frameLimit.length;
    this.#peers = peers;
    this.#vnis = vnis;
    this.#counters = counters;
    this.#knownMtu = new Int32Array(rows);
    this.#reportedMtu = new Int32Array(rows);
    this.#reportedS = new Int32Array(rows);
  }

  /** A row holds a new peer: nothing has been reported of it. @param mtu what is known of the path, bytes; 0: nothing */
  open(peerIdx: number, mtu: number): void {
    this.#knownMtu[peerIdx] = mtu;
    this.#report(peerIdx, 0);
    this.#recompute(peerIdx);
  }

  /** What is known of a path is this from now on; reports of it hold as long as they would have. */
  know(peerIdx: number, mtu: number): void {
    if (this.#knownMtu[peerIdx] === mtu && this.#isOpen(peerIdx)) return;
    this.#knownMtu[peerIdx] = mtu;
    this.#recompute(peerIdx);
  }

  /** What the peer's VNI may take from its TAP has changed (`VniTable.packetMax`). */
  recompute(peerIdx: number): void {
    if (this.#isOpen(peerIdx)) this.#recompute(peerIdx);
  }

  /** Bytes of the largest frame that the path carries whole, Ethernet header with tags included. */
  carries(peerIdx: number): number {
    if (!this.#isOpen(peerIdx)) this.open(peerIdx, 0);
    return this.#mtu(peerIdx) - this.#encapLen(peerIdx);
  }

  /**
   * Bytes of the largest IP packet that may go to a peer.
   *
   * @param linkLen bytes of the Ethernet header with its tags
   * @param outerFragments the outer datagram may be cut up: then only what the VNI was told bounds it, if anything
   */
  packetMax(peerIdx: number, linkLen: number, outerFragments: boolean): number {
    const told = this.#vnis.packetMax[this.#peers.vniIdx(peerIdx)];
    const carried = this.carries(peerIdx) - linkLen;
    if (told === 0) return carried;
    return outerFragments ? told : Math.min(told, carried);
  }

  /**
   * Something on the way to an address was too big: all rows of that address and port go by it. What is the address of no
   * peer changes nothing.
   *
   * @param rows packed addresses as words; port 0: not known @param row which of them
   * @param mtu what the next hop takes, bytes; 0, of a router that does not say, is the least there can be
   * @returns true when a path got smaller
   */
  report(rows: Int32Array, row: number, mtu: number, nowS: number): boolean {
    const { vni } = this.#vnis;
    const port = rows[row << ROW_SHIFT] >>> 16;
    let lowered = false;
    for (let vniIdx = 0; vniIdx < vni.length; vniIdx++) {
      if (vni[vniIdx] < 0) continue;
      const peerIdx = this.#peers.findSource(vniIdx, rows, row);
      if (peerIdx >= 0 && (port === 0 || this.#peers.port(peerIdx) === port))
        lowered = this.#lower(peerIdx, mtu, nowS) || lowered;
    }
    return lowered;
  }

  /** Forgets reports that are too old. Looks at every row that has one: call it now and then. */
  expire(nowS: number): void {
    for (const peerIdx of this.#reported) {
      if (this.#isOpen(peerIdx) && nowS - this.#reportedS[peerIdx] < REPORT_LIFE_S) continue;
      this.#reported.delete(peerIdx);
      if (!this.#isOpen(peerIdx)) continue;
      this.#report(peerIdx, 0);
      this.#recompute(peerIdx);
    }
  }

  /** @returns true when the path got smaller */
  #lower(peerIdx: number, mtu: number, nowS: number): boolean {
    if (!this.#isOpen(peerIdx)) this.open(peerIdx, 0);
    const before = this.#mtu(peerIdx);
    const believed = Math.max(mtu, this.#isIpv4(peerIdx) ? IPV4_FLOOR : IPV6_MIN_MTU);
    const isNews = believed < before;
    if (!isNews && believed !== this.#reportedMtu[peerIdx]) return false;
    this.#reported.add(peerIdx);
    this.#reportedS[peerIdx] = nowS;
    this.#report(peerIdx, believed);
    this.#recompute(peerIdx);
    return isNews;
  }

  /** A row that changed hands is not: whatever is left of its former peer means nothing. */
  #isOpen(peerIdx: number): boolean {
    return this.#peers.frameLimit[peerIdx] !== 0;
  }

  #isIpv4(peerIdx: number): boolean {
    return this.#peers.family(peerIdx) === AF_INET;
  }

  #mtu(peerIdx: number): number {
    const known = this.#knownMtu[peerIdx] || USUAL_MTU;
    const reported = this.#reportedMtu[peerIdx];
    return reported === 0 ? known : Math.min(known, reported);
  }

  #encapLen(peerIdx: number): number {
    return this.#isIpv4(peerIdx) ? ENCAP_LEN[4] : ENCAP_LEN[6];
  }

  /** Notes a report, and shows it. Memory of rows without one stays untouched. @param mtu bytes; 0: none any more */
  #report(peerIdx: number, mtu: number): void {
    if (this.#reportedMtu[peerIdx] === mtu) return;
    this.#reportedMtu[peerIdx] = mtu;
    this.#counters.cells[this.#counters.peerBase(peerIdx) + P_PATH_MTU] = mtu;
  }

  /** Derives what frames are judged by. */
  #recompute(peerIdx: number): void {
    const carried = this.#mtu(peerIdx) - this.#encapLen(peerIdx);
    const told = this.#vnis.packetMax[this.#peers.vniIdx(peerIdx)];
    const limit = told === 0 ? carried : Math.min(carried, told + ETHERNET_LEN);
    this.#peers.frameLimit[peerIdx] = Math.max(1, limit);
  }
}
