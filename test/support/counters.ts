/** Counters as the API returns them; a test sets the fields that it checks, all others are 0. */
import type { CountersView, PeerCounters, StatusView, VniCounters } from '../../src/api/views.js';

const NOTHING = { frames: 0, bytes: 0 };

type SomePeer = Pick<PeerCounters, 'address' | 'tx' | 'rx'> & Partial<PeerCounters>;
type SomeCounters = Partial<Omit<VniCounters, 'peers'>> & { readonly peers?: readonly SomePeer[] };

export function vniCounters(vni: number, { peers = [], ...some }: SomeCounters = {}): VniCounters {
  return {
    vni,
    overlayMtu: 1450,
    tap: { rx: NOTHING, tx: NOTHING, queueDropped: 0 },
    flooded: { broadcast: 0, multicast: 0, unknownUnicast: 0 },
    replicated: 0,
    fragments: 0,
    tooBig: { icmp: 0, fragment: 0, drop: 0 },
    mssClamped: 0,
    drops: { encap: {}, decap: {} },
    fdb: { static: 0, dynamic: 0, learned: 0, moved: 0, aged: 0, evicted: 0 },
    peers: peers.map((peer) => ({ lastSeen: null, pathMtu: null, ...peer })),
    others: { tx: NOTHING, rx: NOTHING },
    ...some,
  };
}

export function counters(vnis: readonly VniCounters[], some: Partial<CountersView> = {}): CountersView {
  return { vnis, drops: { encap: {}, decap: {} }, reservedBits: 0, busyRatio: 0, names: [], ...some };
}

export const STATUS: StatusView = {
  version: '0.1.0',
  startedAt: '2026-01-01T00:00:00.000Z',
  uptimeS: 3600,
  ready: true,
  underlay: { local: ['192.0.2.10'], device: null, port: 4789, io: 'batch', offloads: [] },
  vnis: [],
  warnings: [],
  notices: [],
};
