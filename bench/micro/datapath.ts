/**
 * Encap and decap of known unicast: 64-byte frames in full batches, between memory ports.
 *
 * The figures contain all JavaScript that runs for a frame, with counters, and no kernel time.
 */

import { BATCH_CAP, PEER_ROW_LEN } from '../../src/abi/limits.js';
import { makeClock, NOW_MS } from '../../src/switch/fdb/clock.js';
import { Decap } from '../../src/switch/forward/decap.js';
import { Encap } from '../../src/switch/forward/encap.js';
import { NO_OBSERVER } from '../../src/switch/forward/observer.js';
import { VXLAN_LEN, writeVxlanHeader } from '../../src/wire/vxlan.js';
import type { Case } from './suite.js';
import { MAC_HIGH, makeFrames, makePorts, makeTables, OUTER, VNI, VNI_IDX } from './world.js';

const PEERS = 8;

export function datapathCases(): Case[] {
  return [encapCase(), decapCase()];
}

function encapCase(): Case {
  const tables = makeTables(PEERS);
  const { overlay, underlay } = makePorts();
  const frames = makeFrames(overlay.arena, BATCH_CAP, (i) => ({ high: MAC_HIGH, low: i }));
  for (let i = 0; i < BATCH_CAP; i++) tables.fdb.learn(VNI_IDX, MAC_HIGH, i, i % PEERS, 1);
  const encap = new Encap(tables, overlay, underlay, { ...OUTER, observer: NO_OBSERVER });
  return {
    name: 'encap',
    ops: BATCH_CAP,
    run() {
      encap.refill(VNI_IDX);
      encap.forward(frames);
      return overlay.arena[0];
    },
  };
}

function decapCase(): Case {
  const tables = makeTables(PEERS);
  const { overlay, underlay } = makePorts();
  const toUs = () => ({ high: MAC_HIGH, low: -2 });
  const datagrams = makeFrames(underlay.arena, BATCH_CAP, toUs, VXLAN_LEN);
  for (let i = 0; i < BATCH_CAP; i++) {
    writeVxlanHeader(underlay.arena, datagrams.off[i], VNI);
    const peer = (i % PEERS) * PEER_ROW_LEN;
    underlay.sources.set(tables.peers.bytes.subarray(peer, peer + PEER_ROW_LEN), i * PEER_ROW_LEN);
  }
  const decap = new Decap(tables, overlay, underlay, {
    ...OUTER,
    observer: NO_OBSERVER,
    strictHeader: false,
    port: 4789,
    probeReplied: () => {},
  });
  const clock = makeClock();
  return {
    name: 'decap and learn',
    ops: BATCH_CAP,
    run() {
      clock[NOW_MS] += 100;
      decap.deliver(datagrams, clock);
      return tables.fdb.table.size;
    },
  };
}
