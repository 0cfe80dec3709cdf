/** Dropped frames by reason, out of a VNI's row or the global one. */
import * as C from '../stats/counters.js';
import { DROP_REASON_COUNT, DROP_REASONS, type DropReason } from '../stats/drop-reason.js';

/** Frames by reason. Reasons that can occur are there even at zero, so that a rate can be taken of the first one. */
export interface Drops {
  readonly encap: Readonly<Record<string, number>>;
  readonly decap: Readonly<Record<string, number>>;
}

/** Where a row has its drops, and which reasons are there at zero as well. */
interface DropCells {
  readonly encap: number;
  readonly decap: number;
  readonly encapAlways: readonly DropReason[];
  readonly decapAlways: readonly DropReason[];
}

/** In a VNI's row. */
export const OF_VNI: DropCells = {
  encap: C.V_DROPS_ENCAP,
  decap: C.V_DROPS_DECAP,
  encapAlways: ['no_tx_target', 'flood_off', 'too_big', 'no_route', 'underlay_full'],
  decapAlways: [
    'invalid_hdr',
    'source_not_peer',
    'reserved_bits',
    'mac_invalid_source',
    'local_mac',
    'entry_exists',
    'ip_tunnel_ecn',
    'vlan_drop',
    'overlay_full',
    'overlay_down',
    'too_big',
  ],
};

/** In the global row, of no configured VNI: received, and refused before the VNI was known. */
export const NO_VNI: DropCells = {
  encap: C.G_DROPS_ENCAP,
  decap: C.G_DROPS_DECAP,
  encapAlways: [],
  decapAlways: ['truncated', 'invalid_hdr', 'vni_not_found', 'rx_overflow'],
};

export function dropsOf(row: Float64Array, cells: DropCells): Drops {
  return {
    encap: readDrops(row, cells.encap, cells.encapAlways),
    decap: readDrops(row, cells.decap, cells.decapAlways),
  };
}

function readDrops(row: Float64Array, base: number, always: readonly DropReason[]): Record<string, number> {
  const drops: Record<string, number> = {};
  for (let index = 1; index < DROP_REASON_COUNT; index++) {
    const [label] = DROP_REASONS[index];
    const frames = row[base + index];
    if (frames > 0 || always.includes(label as DropReason)) drops[label] = frames;
  }
  return drops;
}
