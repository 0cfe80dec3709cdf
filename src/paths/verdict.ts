/**
 * What a path MTU means for an overlay: the one piece of arithmetic behind `--mtu auto`, the start-up warning, the
 * probe's answer and their sentences. Pure.
 *
 *     | outer IP 20 or 40 | UDP 8 | VXLAN 8 | inner Ethernet 14 | 802.1Q tags, 4 each | overlay MTU |
 *     |<----------------------------------- path MTU ------------------------------------------->|
 */

import { ETHERNET_LEN, VLAN_TAG_LEN } from '../wire/ethernet.js';
import { ENCAP_LEN } from '../wire/vxlan.js';

/** Largest inner IP packet that a path carries whole, bytes. @param tags 802.1Q tags that inner frames have */
export function overlayMtuFor(family: 4 | 6, pathMtu: number, tags = 0): number {
  return pathMtu - ENCAP_LEN[family] - ETHERNET_LEN - VLAN_TAG_LEN * tags;
}

/** One way of a VNI. */
export interface PeerPath {
  /** Canonical text. */
  readonly address: string;
  readonly family: 4 | 6;
  /** Bytes; undefined: no route is known. */
  readonly pathMtu: number | undefined;
}

/** What fits every path whose width is known. */
export interface Fit {
  readonly overlayMtu: number;
  /** Whose path is the narrowest; '': none is known, and an Ethernet of 1500 is assumed. */
  readonly peer: string;
}

const USUAL_PATH_MTU = 1500;

export function fitOf(paths: readonly PeerPath[], tags: number): Fit {
  let narrowest: Fit | undefined;
  for (const { address, family, pathMtu } of paths) {
    if (pathMtu === undefined) continue;
    const overlayMtu = overlayMtuFor(family, pathMtu, tags);
    if (narrowest === undefined || overlayMtu < narrowest.overlayMtu)
      narrowest = { overlayMtu, peer: address };
  }
  return narrowest ?? { overlayMtu: overlayMtuFor(4, USUAL_PATH_MTU, tags), peer: '' };
}

/** The warning about a `--mtu` that does not fit: asked, fits, who limits it. Undefined: it fits, or nobody knows. */
export function mtuWarning(vni: number, asked: number, { overlayMtu, peer }: Fit): string | undefined {
  if (peer === '' || asked <= overlayMtu) return undefined;
  return `VNI ${vni}: --mtu ${asked} was asked for, ${overlayMtu} fits: the path to ${peer} limits it; give --mtu auto or ${overlayMtu}, or widen that path by ${asked - overlayMtu} bytes`;
}

export interface Overlay {
  /** What frames are judged by, bytes. */
  readonly overlayMtu: number;
  readonly tap: string;
  /** Device MTU of the TAP, bytes. */
  readonly tapMtu: number;
  /** The TAP is a port of a bridge, and keeps its members' MTU. */
  readonly bridged: boolean;
}

export interface Judgement {
  /** Everything that the overlay may send fits the path. */
  readonly good: boolean;
  /** One line for people. */
  readonly summary: string;
}

/** The answer to "does it fit?" for one peer. @param fits largest overlay MTU of the path; undefined: not known */
export function judge(pathMtu: number | undefined, fits: number | undefined, overlay: Overlay): Judgement {
  if (pathMtu === undefined || fits === undefined)
    return { good: false, summary: 'unknown: nothing on the way to the peer answered' };
  const path = `path carries ${pathMtu}; overlay MTU ${fits} fits`;
  const { overlayMtu, tap, tapMtu, bridged } = overlay;
  if (overlayMtu > fits)
    return { good: false, summary: `${path}; this VNI has ${overlayMtu}: ${excess(overlayMtu - fits)}` };
  if (tapMtu <= fits) return { good: true, summary: path };
  if (!bridged)
    return { good: false, summary: `${path}; your TAP ${tap} has ${tapMtu}: ${excess(tapMtu - fits)}` };
  const why = `${tap} has ${tapMtu} as its bridge has, so that larger frames are answered and not lost`;
  return { good: true, summary: `${path}; ${why}` };
}

function excess(bytes: number): string {
  return `${bytes} byte${bytes === 1 ? '' : 's'} too large`;
}
