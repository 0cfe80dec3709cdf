/**
 * Head-end replication: a broadcast frame to every peer of the VNI.
 *
 * A copy is one more descriptor; its cost should not grow with the number of copies.
 */

import { Encap } from '../../src/switch/forward/encap.js';
import { NO_OBSERVER } from '../../src/switch/forward/observer.js';
import type { Case } from './suite.js';
import { makeFrames, makePorts, makeTables, OUTER, VNI_IDX } from './world.js';

/** Minimum number of copies per call, so that the cost of the call is negligible. */
const COPIES = 1024;

export function floodCases(peers: number): Case {
  const { overlay, underlay } = makePorts();
  const count = Math.min(128, Math.ceil(COPIES / peers));
  const frames = makeFrames(overlay.arena, count, () => ({ high: 0xffff, low: -1 }));
  const tables = makeTables(peers);
  const encap = new Encap(tables, overlay, underlay, { ...OUTER, observer: NO_OBSERVER });
  return {
    name: `to ${peers} peers`,
    ops: count * peers,
    run() {
      encap.refill(VNI_IDX);
      encap.forward(frames);
      while (encap.backlog.count > 0) {
        encap.refill(VNI_IDX);
        encap.resume(VNI_IDX);
      }
      return overlay.arena[0];
    },
  };
}
