/**
 * Path MTU of each peer row, and the frame limit derived from it.
 *
 * The frame limit is a column of the peer table, so that a frame costs one load and one comparison
 * (`PeerTable.frameLimit`). It is recomputed only when a path MTU or a setting changes.
 *
 * The main thread supplies a path MTU from the routing table and from probes. Reports of the
 * network (RFC 1191, RFC 8201), which are ICMP messages or errors of the kernel, lower it. A report
 * expires ten minutes after it was last received; the value of the main thread then applies again.
 * A forged report looks like a genuine one. Therefore no report raises a path MTU, and no report
 * lowers a path MTU below the minimum of the address family, 576 or 1280 bytes.
 *
 * A report names an address, and it lowers the path MTU of every row with that address. This module
 * is not informed when the row of a stranger is allocated; it initialises such a row when the first
 * frame needs it.
 *
 * Owned by the data-plane thread. Time is passed in. Nothing here allocates per frame.
 */
import { AF_INET, ROW_SHIFT } from '../../abi/peer-row.js';
import { type Counters, P_PATH_MTU } from '../../exchange/counters.js';
import { ETHERNET_LEN } from '../../wire/ethernet.js';
import { IPV6_MIN_MTU } from '../../wire/ipv6.js';
import { ENCAP_LEN } from '../../wire/vxlan.js';
import type { PeerTable } from './peer-table.js';
import type { VniTable } from './vni-table.js';

/** Lifetime of a report, seconds (RFC 1191 §6.3, RFC 8201 §5.3). */
export const REPORT_LIFE_S = 600;

/** Path MTU of Ethernet, used while no route is known. */
const USUAL_MTU = 1500;
/** Packet size that every IPv4 host accepts, bytes (RFC 791 §3.1). */
const IPV4_FLOOR = 576;

export class PathMtu {
  readonly #peers: PeerTable;
  readonly #vnis: VniTable;
  readonly #counters: Counters;
  /** Value of the main thread, bytes; 0: unknown. */
  readonly #knownMtu: Int32Array;
  /** Value reported by the network, bytes; 0: none. */
  readonly #reportedMtu: Int32Array;
  /** Time of the last report, seconds. */
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

  /**
   * Initialises the row of a new peer, without reports. @param mtu known path MTU, bytes; 0:
   * unknown
   */
  open(peerIdx: number, mtu: number): void {
    this.#knownMtu[peerIdx] = mtu;
    this.#report(peerIdx, 0);
    this.#recompute(peerIdx);
  }

  /** Sets the known path MTU. Reports keep their lifetime. */
  know(peerIdx: number, mtu: number): void {
    if (this.#knownMtu[peerIdx] === mtu && this.#isOpen(peerIdx)) return;
    this.#knownMtu[peerIdx] = mtu;
    this.#recompute(peerIdx);
  }

  /** Recomputes the limit after a change of the VNI's `--mtu` (`VniTable.packetMax`). */
  recompute(peerIdx: number): void {
    if (this.#isOpen(peerIdx)) this.#recompute(peerIdx);
  }

  /** Largest frame that the path carries whole, bytes, with Ethernet header and tags. */
  carries(peerIdx: number): number {
    if (!this.#isOpen(peerIdx)) this.open(peerIdx, 0);
    return this.#mtu(peerIdx) - this.#encapLen(peerIdx);
  }

  /**
   * Returns the largest IP packet that may go to a peer, bytes.
   *
   * @param linkLen bytes of the Ethernet header with its tags
   * @param outerFragments true when routers are allowed to fragment the outer datagram: then the
   * VNI's `--mtu`, if it is set, is the only limit
   */
  packetMax(peerIdx: number, linkLen: number, outerFragments: boolean): number {
    const configuredMax = this.#vnis.packetMax[this.#peers.vniIdx(peerIdx)];
    const carried = this.carries(peerIdx) - linkLen;
    if (configuredMax === 0) return carried;
    return outerFragments ? configuredMax : Math.min(configuredMax, carried);
  }

  /**
   * Applies a report that a packet to an address was too big. It applies to all rows with that
   * address and port; if the address is that of no peer, nothing changes.
   *
   * @param rows packed addresses as words; port 0: unknown @param row index of the address
   * @param mtu next-hop MTU, bytes; 0: not reported, the minimum is assumed
   * @returns true when a path MTU was lowered
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

  /** Removes expired reports. It checks every row with a report, so it should be called rarely. */
  expire(nowS: number): void {
    for (const peerIdx of this.#reported) {
      if (this.#isOpen(peerIdx) && nowS - this.#reportedS[peerIdx] < REPORT_LIFE_S) continue;
      this.#reported.delete(peerIdx);
      if (!this.#isOpen(peerIdx)) continue;
      this.#report(peerIdx, 0);
      this.#recompute(peerIdx);
    }
  }

  /** @returns true when the path MTU was lowered */
  #lower(peerIdx: number, mtu: number, nowS: number): boolean {
    if (!this.#isOpen(peerIdx)) this.open(peerIdx, 0);
    const before = this.#mtu(peerIdx);
    const bounded = Math.max(mtu, this.#isIpv4(peerIdx) ? IPV4_FLOOR : IPV6_MIN_MTU);
    const isLower = bounded < before;
    if (!isLower && bounded !== this.#reportedMtu[peerIdx]) return false;
    this.#reported.add(peerIdx);
    this.#reportedS[peerIdx] = nowS;
    this.#report(peerIdx, bounded);
    this.#recompute(peerIdx);
    return isLower;
  }

  /** False for a row whose peer was replaced: data of its former peer is invalid. */
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

  /**
   * Stores a report, and shows it as a counter. The memory of rows without a report stays
   * untouched.
   * @param mtu bytes; 0: none
   */
  #report(peerIdx: number, mtu: number): void {
    if (this.#reportedMtu[peerIdx] === mtu) return;
    this.#reportedMtu[peerIdx] = mtu;
    this.#counters.cells[this.#counters.peerBase(peerIdx) + P_PATH_MTU] = mtu;
  }

  /** Derives the frame limit. */
  #recompute(peerIdx: number): void {
    const carried = this.#mtu(peerIdx) - this.#encapLen(peerIdx);
    const configuredMax = this.#vnis.packetMax[this.#peers.vniIdx(peerIdx)];
    const limit = configuredMax === 0 ? carried : Math.min(carried, configuredMax + ETHERNET_LEN);
    this.#peers.frameLimit[peerIdx] = Math.max(1, limit);
  }
}
