/**
 * Computes the overlay MTU from path MTUs, and the messages about it.
 *
 * `--mtu auto`, the start-up warning and the result of a probe all use this computation. Pure
 * functions.
 *
 *     | outer IP 20/40 | UDP 8 | VXLAN 8 | Ethernet 14 | 802.1Q tags, 4 each | overlay MTU |
 *     |<-------------------------------- path MTU --------------------------------------->|
 */

import type { Report } from '../exchange/report.js';
import { ETHERNET_LEN, VLAN_TAG_LEN } from '../wire/ethernet.js';
import { ENCAP_LEN } from '../wire/vxlan.js';

/**
 * Returns the largest inner IP packet that a path carries unfragmented, bytes.
 *
 * @param tags number of 802.1Q tags of inner frames
 */
export function overlayMtuFor(family: 4 | 6, pathMtu: number, tags = 0): number {
  return pathMtu - ENCAP_LEN[family] - ETHERNET_LEN - VLAN_TAG_LEN * tags;
}

/** The path to one peer of a VNI. */
export interface PeerPath {
  /** Address of the peer in canonical form. */
  readonly address: string;
  readonly family: 4 | 6;
  /** Bytes; undefined when no route is known. */
  readonly pathMtu: number | undefined;
}

/** The largest overlay MTU that fits all paths with a known path MTU. */
export interface Fit {
  readonly overlayMtu: number;
  /** Peer with the narrowest path; '' when no path MTU is known and 1500 is assumed. */
  readonly peer: string;
}

const DEFAULT_PATH_MTU = 1500;

export function fitOf(paths: readonly PeerPath[], tags: number): Fit {
  let narrowest: Fit | undefined;
  for (const { address, family, pathMtu } of paths) {
    if (pathMtu === undefined) continue;
    const overlayMtu = overlayMtuFor(family, pathMtu, tags);
    if (narrowest === undefined || overlayMtu < narrowest.overlayMtu)
      narrowest = { overlayMtu, peer: address };
  }
  return narrowest ?? { overlayMtu: overlayMtuFor(4, DEFAULT_PATH_MTU, tags), peer: '' };
}

/**
 * Returns the warning about a `--mtu` that is too large. It has the configured MTU, the fitting MTU
 * and the limiting peer.
 *
 * @returns undefined when the configured MTU fits, or when no path MTU is known
 */
export function mtuWarning(vni: number, configured: number, { overlayMtu, peer }: Fit): Report | undefined {
  if (peer === '' || configured <= overlayMtu) return undefined;
  return {
    code: 'overlay_mtu_too_large',
    detail: `VNI ${vni}: --mtu ${configured} exceeds ${overlayMtu}, the largest that fits the path to ${peer}`,
    why: 'larger packets are answered by ICMP, fragmented or dropped',
    cure: `use --mtu auto or ${overlayMtu}, or raise the MTU of that path by ${configured - overlayMtu} bytes`,
  };
}

export interface Overlay {
  /** Limit that frames are checked against, bytes. */
  readonly overlayMtu: number;
  readonly tap: string;
  /** Device MTU of the TAP, bytes. */
  readonly tapMtu: number;
  /** True when the TAP is a port of a bridge and has the MTU of the bridge's ports. */
  readonly bridged: boolean;
}

export interface Judgement {
  /** True when all packets that the overlay may send fit the path. */
  readonly good: boolean;
  /** Explanation for the user, one line. */
  readonly summary: string;
}

/**
 * Decides whether the packets of an overlay fit the path to one peer.
 *
 * @param fits largest overlay MTU of the path, bytes; undefined when unknown
 */
export function judge(pathMtu: number | undefined, fits: number | undefined, overlay: Overlay): Judgement {
  if (pathMtu === undefined || fits === undefined)
    return { good: false, summary: 'unknown: no probe was answered' };
  const path = `path carries ${pathMtu}; overlay MTU ${fits} fits`;
  const { overlayMtu, tap, tapMtu, bridged } = overlay;
  if (overlayMtu > fits)
    return { good: false, summary: `${path}; this VNI has ${overlayMtu}: ${excess(overlayMtu - fits)}` };
  if (tapMtu <= fits) return { good: true, summary: path };
  if (!bridged)
    return { good: false, summary: `${path}; TAP ${tap} has ${tapMtu}: ${excess(tapMtu - fits)}` };
  const why = `TAP ${tap} has ${tapMtu}, the MTU of its bridge, so that larger frames are answered instead of lost`;
  return { good: true, summary: `${path}; ${why}` };
}

function excess(bytes: number): string {
  return `${bytes} byte${bytes === 1 ? '' : 's'} too large`;
}
