/**
 * Read-only view of a handle, for the API and for users of the library.
 *
 * Changes go through the configuration, which checks them, stores them in the state file and
 * applies them one at a time.
 */
import type { DataPlane } from '../exchange/data-plane.js';

export function readsOf(handle: DataPlane): DataPlane {
  return Object.freeze<DataPlane>({
    get ready() {
      return handle.ready;
    },
    vnis: () => handle.vnis(),
    settling: () => handle.settling(),
    peers: (vni) => handle.peers(vni),
    listFdb: (vni, filter, limit, cursor) => handle.listFdb(vni, filter, limit, cursor),
    snapshot: (vni) => handle.snapshot(vni),
    rows: (vni) => handle.rows(vni),
    totals: (vni) => handle.totals(vni),
    globals: () => handle.globals(),
  });
}
