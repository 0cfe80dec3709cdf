/**
 * Drop reasons: one table of index, label and help text.
 *
 * Where the kernel has a label for a reason, the table uses that label
 * (`include/net/dropreason-core.h`). Index 0 means delivered.
 */

/** The reason occurs for frames of a VNI to peers. */
export const ENCAP = 1;
/** The reason occurs for frames of a VNI from peers. */
export const DECAP = 2;
/** The reason occurs for datagrams of no configured VNI. */
export const STRAY = 4;

/**
 * Label, help text, and the kinds of counters that report the reason even at zero (ENCAP, DECAP,
 * STRAY, or-ed).
 *
 * Sizes and offsets of counter rows follow from the length of this table (`counters.ts`). The index
 * of a reason is stable within a process only.
 */
export const DROP_REASONS = [
  ['', 'not dropped', 0],
  ['truncated', 'datagram shorter than a VXLAN and an Ethernet header (22 bytes)', STRAY],
  [
    'invalid_hdr',
    'I flag of the VXLAN header clear, or inner headers that the kernel rejected',
    DECAP | STRAY,
  ],
  ['vni_not_found', 'VNI not configured here', STRAY],
  ['source_not_peer', 'outer source address is not a peer of this VNI', DECAP | STRAY],
  ['reserved_bits', 'reserved bits of the VXLAN header set, with --strict-header on', DECAP],
  ['mac_invalid_source', 'inner source MAC is multicast or zero', DECAP],
  ['local_mac', 'inner source MAC is that of the local TAP: a loop or a duplicate MAC', DECAP],
  ['entry_exists', 'static FDB entry of the inner source MAC points to another peer', DECAP],
  ['ip_tunnel_ecn', 'outer header marked CE, but the inner packet is not ECN-capable', DECAP],
  ['vlan_drop', 'inner 802.1Q tag, with --vlan drop', DECAP],
  ['no_tx_target', 'no peer to send to', ENCAP],
  ['flood_off', 'unknown unicast, with --flood off', ENCAP],
  ['too_big', 'larger than the path carries', ENCAP | DECAP],
  ['no_route', 'the kernel has no route to the peer, or refuses to send there', ENCAP],
  ['overlay_full', 'the TAP device accepted no more frames', DECAP],
  ['overlay_down', 'the TAP device is down', DECAP],
  ['underlay_full', 'the underlay socket accepted no more datagrams', ENCAP],
  ['rx_overflow', 'the receive buffer of the underlay socket was full', STRAY],
  ['no_slot', 'no memory slot was free', 0],
  ['ambiguous', 'inner IP length exceeds its own datagram of a train', DECAP],
  ['segments', 'superframe whose segments are too small or too many', ENCAP | DECAP],
  [
    'from_overlay',
    'VXLAN that arrived by a TAP or bridge of the overlay, not by the underlay',
    DECAP | STRAY,
  ],
  ['fair_share', 'exceeds the share of its VNI or peer while others wait', ENCAP | DECAP],
] as const;

export const DROP_REASON_COUNT = DROP_REASONS.length;

export type DropReason = Exclude<(typeof DROP_REASONS)[number][0], ''>;

/**
 * Index of a reason: its value in the `verdict` column of a batch and its offset in a counter row.
 */
export const DROP: { readonly [R in DropReason]: number } = Object.fromEntries(
  DROP_REASONS.map(([label], index) => [label, index]).filter(([label]) => label !== ''),
) as { [R in DropReason]: number };
