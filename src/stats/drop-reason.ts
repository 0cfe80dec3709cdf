/**
 * Why a frame was not delivered: one table gives each reason its index, its label and its help text. The
 * kernel's words where it has one (`include/net/dropreason-core.h`), ours otherwise. Index 0 means delivered.
 */

export const DROP_REASONS = [
  ['', 'not dropped'],
  ['truncated', 'datagram shorter than a VXLAN and an Ethernet header (22 bytes)'],
  ['invalid_hdr', 'I flag of the VXLAN header clear, or inner headers that the kernel refused'],
  ['vni_not_found', 'VNI not configured here'],
  ['source_not_peer', 'outer source address is not a peer of this VNI'],
  ['reserved_bits', 'reserved bits of the VXLAN header set, with --strict-header on'],
  ['mac_invalid_source', 'inner source MAC is multicast or zero'],
  ['local_mac', 'inner source MAC is our own: a loop, or a copied MAC'],
  ['entry_exists', 'a static FDB entry says that this MAC lives elsewhere'],
  ['ip_tunnel_ecn', 'outer header marked congestion (CE), inner transport does not understand it'],
  ['vlan_drop', 'inner 802.1Q tag, with --vlan drop'],
  ['no_tx_target', 'no peer to send to'],
  ['flood_off', 'unknown unicast, with --flood off'],
  ['too_big', 'larger than the path carries'],
  ['no_route', 'the kernel has no route to the peer, or refuses to send there'],
  ['overlay_full', 'the TAP device took no more'],
  ['overlay_down', 'the TAP device is down'],
  ['underlay_full', 'the underlay socket took no more'],
  ['rx_overflow', 'the receive buffer of the underlay socket was full'],
  ['no_slot', 'no memory slot was free'],
] as const;

export const DROP_REASON_COUNT = DROP_REASONS.length;

export type DropReason = Exclude<(typeof DROP_REASONS)[number][0], ''>;

/** Index of a reason: the value of a batch's `verdict` column and the offset in a counter row. */
export const DROP: { readonly [R in DropReason]: number } = Object.fromEntries(
  DROP_REASONS.map(([label], index) => [label, index]).filter(([label]) => label !== ''),
) as { [R in DropReason]: number };
