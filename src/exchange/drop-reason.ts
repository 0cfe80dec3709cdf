/**
 * Why a frame was not delivered: one table gives each reason its index, its label and its help text. The
 * kernel's words where it has one (`include/net/dropreason-core.h`), ours otherwise. Index 0 means delivered.
 */

/** Where a reason occurs: frames of a VNI on their way to peers, frames of a VNI from peers, datagrams of no configured VNI. */
export const ENCAP = 1;
export const DECAP = 2;
export const STRAY = 4;

/**
 * Label, help text, and where the reason is reported even at zero (ENCAP, DECAP, STRAY, or-ed). Sizes and offsets of counter
 * rows follow from the length of this table (`counters.ts`). A reason keeps its index for the life of a process only.
 */
export const DROP_REASONS = [
  ['', 'not dropped', 0],
  ['truncated', 'datagram shorter than a VXLAN and an Ethernet header (22 bytes)', STRAY],
  [
    'invalid_hdr',
    'I flag of the VXLAN header clear, or inner headers that the kernel refused',
    DECAP | STRAY,
  ],
  ['vni_not_found', 'VNI not configured here', STRAY],
  ['source_not_peer', 'outer source address is not a peer of this VNI', DECAP | STRAY],
  ['reserved_bits', 'reserved bits of the VXLAN header set, with --strict-header on', DECAP],
  ['mac_invalid_source', 'inner source MAC is multicast or zero', DECAP],
  ['local_mac', 'inner source MAC is our own: a loop, or a copied MAC', DECAP],
  ['entry_exists', 'a static FDB entry says that this MAC lives elsewhere', DECAP],
  ['ip_tunnel_ecn', 'outer header marked congestion (CE), inner transport does not understand it', DECAP],
  ['vlan_drop', 'inner 802.1Q tag, with --vlan drop', DECAP],
  ['no_tx_target', 'no peer to send to', ENCAP],
  ['flood_off', 'unknown unicast, with --flood off', ENCAP],
  ['too_big', 'larger than the path carries', ENCAP | DECAP],
  ['no_route', 'the kernel has no route to the peer, or refuses to send there', ENCAP],
  ['overlay_full', 'the TAP device took no more', DECAP],
  ['overlay_down', 'the TAP device is down', DECAP],
  ['underlay_full', 'the underlay socket took no more', ENCAP],
  ['rx_overflow', 'the receive buffer of the underlay socket was full', STRAY],
  ['no_slot', 'no memory slot was free', 0],
  ['ambiguous', 'inner IP length reaches behind its own datagram of a train', DECAP],
  ['segments', 'superframe whose segments are too small or too many', ENCAP | DECAP],
  ['fair_share', 'beyond the share of its VNI or peer while others wait', ENCAP | DECAP],
] as const;

export const DROP_REASON_COUNT = DROP_REASONS.length;

export type DropReason = Exclude<(typeof DROP_REASONS)[number][0], ''>;

/** Index of a reason: the value of a batch's `verdict` column and the offset in a counter row. */
export const DROP: { readonly [R in DropReason]: number } = Object.fromEntries(
  DROP_REASONS.map(([label], index) => [label, index]).filter(([label]) => label !== ''),
) as { [R in DropReason]: number };
