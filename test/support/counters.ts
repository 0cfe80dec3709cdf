/** Counters as the API answers them, with what a test does not care for at zero. */
import type { Counters, Status, VniCounters } from '../../src/cli/answers.js';

const NOTHING = { frames: 0, bytes: 0 };

export function vniCounters(vni: number, some: Partial<VniCounters> = {}): VniCounters {
  return {
    vni,
    tap: { rx: NOTHING, tx: NOTHING, queueDropped: 0 },
    flooded: { broadcast: 0, multicast: 0, unknownUnicast: 0 },
    replicated: 0,
    fragments: 0,
    tooBig: { icmp: 0, fragment: 0, drop: 0 },
    mssClamped: 0,
    drops: { encap: {}, decap: {} },
    fdb: { static: 0, dynamic: 0, learned: 0, moved: 0, aged: 0, evicted: 0 },
    peers: [],
    others: { tx: NOTHING, rx: NOTHING },
    ...some,
  };
}

export function counters(vnis: readonly VniCounters[], some: Partial<Counters> = {}): Counters {
  return { vnis, drops: { encap: {}, decap: {} }, reservedBits: 0, busyRatio: 0, ...some };
}

export const STATUS: Status = {
  version: '0.1.0',
  uptimeS: 3600,
  ready: true,
  underlay: { local: ['192.0.2.10'], device: null, port: 4789, io: 'batch', offloads: [] },
  vnis: [],
  warnings: [],
};
