/** Facts about the daemon for the doctor: its counters, warnings and notices. */
import {
  G_DROPS_DECAP,
  G_STRAY_VNI,
  P_LAST_SEEN_MS,
  P_TX_FRAMES,
  V_DROPS_DECAP,
  V_DROPS_ENCAP,
} from '../exchange/counters.js';
import type { DataPlane, VniState } from '../exchange/data-plane.js';
import { DROP } from '../exchange/drop-reason.js';
import type { DaemonFacts, VniFacts } from './facts.js';

/** @param own facts that are not in the counters */
export function daemonFacts(
  dataPlane: DataPlane,
  own: Pick<DaemonFacts, 'port' | 'uptimeS' | 'underlayDevices' | 'stackDevices' | 'warnings' | 'notices'>,
): DaemonFacts {
  const globals = dataPlane.globals();
  const fromOverlay = dataPlane
    .vnis()
    .map(({ vni }) => dataPlane.snapshot(vni).vni[V_DROPS_DECAP + DROP.from_overlay]);
  return {
    ...own,
    vnis: dataPlane.vnis().map((vni) => vniFacts(dataPlane, vni)),
    fromOverlay: fromOverlay.reduce((sum, count) => sum + count, globals[G_DROPS_DECAP + DROP.from_overlay]),
    strayFrames: globals[G_DROPS_DECAP + DROP.vni_not_found],
    strayVni: globals[G_STRAY_VNI] - 1,
  };
}

function vniFacts(dataPlane: DataPlane, { vni, tap }: VniState): VniFacts {
  const { vni: row, peers } = dataPlane.snapshot(vni);
  return {
    vni,
    tap,
    unsendable: row[V_DROPS_ENCAP + DROP.no_route],
    fromStrangers: row[V_DROPS_DECAP + DROP.source_not_peer],
    peers: peers.flatMap(({ peer, row: counted }) =>
      peer === undefined
        ? []
        : [
            {
              address: peer.address.text,
              txFrames: counted[P_TX_FRAMES],
              received: counted[P_LAST_SEEN_MS] > 0,
            },
          ],
    ),
  };
}
