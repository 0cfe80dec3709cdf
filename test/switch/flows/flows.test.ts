import t from 'tap';
import {
  P_LAST_SEEN_MS,
  P_RX_BYTES,
  P_RX_FRAMES,
  P_TX_BYTES,
  P_TX_FRAMES,
  V_TAP_RX_FRAMES,
  V_TAP_TX_BYTES,
} from '../../../src/exchange/counters.js';
import { isForwarding } from '../../../src/exchange/protocol.js';
import {
  COUNT_CELLS,
  type FlowPort,
  type FlowRow,
  FROM_STATION,
  TO_STATION,
} from '../../../src/switch/flows/flow-port.js';
import { Flows, LEASE_MS } from '../../../src/switch/flows/flows.js';
import { ipv4Frame, macNumber, macParts } from '../../support/frames.js';
import { concat } from '../../support/hex.js';
import { MemoryPlane, sourceRow, vxlanHeader } from '../../support/memory-plane.js';

const STATION = '02:00:00:00:00:0b';
const HERE = '02:00:00:00:00:0a';
const SLOTS = 16;
const FIRST_SLOT = 32;
const COUNT_PERIOD_MS = 100;

/** The kernel's maps in memory: rows by VNI and MAC, and counts set by a test. */
class FakeMaps implements FlowPort {
  readonly rows = new Map<string, FlowRow>();
  readonly slots = new Map<number, number[]>();
  puts = 0;
  removals = 0;
  clears = 0;
  room = true;

  put(row: FlowRow): boolean {
    this.puts++;
    if (this.room) this.rows.set(`${row.vni} ${row.high} ${row.low} ${row.direction}`, { ...row });
    return this.room;
  }

  remove(vni: number, high: number, low: number, direction: number): void {
    this.removals++;
    this.rows.delete(`${vni} ${high} ${low} ${direction}`);
  }

  clear(): void {
    this.clears++;
    this.rows.clear();
  }

  counts(slot: number, into: Float64Array, base: number): boolean {
    into.set(this.slots.get(slot) ?? new Array(COUNT_CELLS).fill(0), base);
    return true;
  }

  row(direction: number): FlowRow | undefined {
    return [...this.rows.values()].find((row) => row.direction === direction);
  }
}

/**
 * A VNI with two peers, to which superframes may be sent whole. A station is behind the first peer,
 * and the offload is enabled.
 */
function known(options: ConstructorParameters<typeof MemoryPlane>[0] = {}, shared = false) {
  const plane = new MemoryPlane(options);
  plane.addVni(0, 100);
  const [one, two] = ['192.0.2.1', '192.0.2.2'].map((address) => plane.addPeer(0, address));
  plane.tables.peers.setTunnelled(Int32Array.of(one, two));
  const { high, low } = macParts(STATION);
  plane.tables.fdb.learn(0, high, low, one, plane.tick);
  const maps = new FakeMaps();
  const { flows } = plane;
  flows.set(maps, FIRST_SLOT, SLOTS, shared);
  flows.use(true);
  flows.step(plane.clock);
  const sent = (isSuperframe: boolean, peerIdx = one) => flows.sent(0, high, low, peerIdx, isSuperframe);
  const received = (isSuperframe: boolean, peerIdx = one) =>
    flows.received(0, high, low, peerIdx, isSuperframe);
  const wait = (ms: number) => {
    plane.nowMs += ms;
    plane.breathe();
  };
  return { plane, one, two, high, low, maps, flows, sent, received, wait };
}

t.test('a superframe for a station creates a lease, other frames do not', async (t) => {
  const { plane, one, high, low, maps, sent } = known();
  sent(false);
  t.equal(maps.rows.size, 0);
  sent(true);
  const now = plane.nowMs | 0;
  t.equal(maps.rows.size, 1, 'only the direction of the frame gets a lease');
  const row = maps.row(TO_STATION)!;
  t.match(row, { vni: 100, high, low, tos: -1, df: true, until: now + LEASE_MS });
  t.equal(row.frameLimit, plane.tables.peers.frameLimit[one]);
  t.ok(row.slot >= FIRST_SLOT && row.slot < FIRST_SLOT + SLOTS);
  t.same(
    [...new Uint8Array(Int32Array.of(row.peer).buffer)],
    [192, 0, 2, 1],
    'the address of the peer is in network order',
  );
});

t.test('after a superframe in one direction, any frame in the other direction gets a lease', async (t) => {
  const { plane, maps, sent, received } = known();
  received(false);
  t.equal(maps.rows.size, 0, 'a received frame creates no lease without a superframe');
  sent(true);
  received(false);
  t.equal(maps.row(FROM_STATION)?.until, (plane.nowMs | 0) + LEASE_MS);
});

t.test('a frame renews a lease only in the second half of the lease', async (t) => {
  const { plane, maps, sent, wait } = known();
  sent(true);
  for (let i = 0; i < 100; i++) sent(true);
  t.equal(maps.puts, 1);
  wait(LEASE_MS * 0.6);
  sent(false);
  t.equal(maps.puts, 2);
  t.equal(maps.row(TO_STATION)?.until, (plane.nowMs | 0) + LEASE_MS);
});

t.test('an unused lease expires and frees its slot', async (t) => {
  const { maps, sent, wait } = known();
  sent(true);
  wait(LEASE_MS - 1);
  t.equal(maps.rows.size, 1);
  wait(COUNT_PERIOD_MS + 1);
  t.equal(maps.rows.size, 0);
});

t.test('a lease lasts at most a quarter of the ageing time', async (t) => {
  const { plane, maps, sent } = known();
  plane.tables.vnis.ageingTicks[0] = 80;
  sent(true);
  t.equal(maps.row(TO_STATION)?.until, (plane.nowMs | 0) + 2000, 'the lease lasts a quarter of 8 s');
});

t.test('frames that the kernel cannot or must not forward create no lease', async (t) => {
  const cases: [string, (world: ReturnType<typeof known>) => void][] = [
    ['another peer than that of the entry', ({ sent, two }) => sent(true, two)],
    [
      'a peer to which superframes are not sent whole',
      ({ plane, sent }) => {
        plane.tables.peers.setTunnelled(new Int32Array(0));
        sent(true);
      },
    ],
    [
      'disabled',
      ({ flows, sent }) => {
        flows.use(false);
        if (flows.active) sent(true);
      },
    ],
    [
      'paused',
      ({ flows, sent }) => {
        flows.pause(true);
        if (flows.active) sent(true);
      },
    ],
    [
      'no room',
      ({ maps, sent }) => {
        maps.room = false;
        sent(true);
      },
    ],
  ];
  for (const [why, act] of cases) {
    const world = known();
    act(world);
    t.equal(world.maps.rows.size, 0, why);
  }
  const inherit = known({ df: 'inherit' });
  t.notOk(inherit.flows.active, 'with --df inherit, DF differs from frame to frame');
});

t.test('a lease ends before its entry moves, is removed or ages out', async (t) => {
  const cases: [string, (world: ReturnType<typeof known>) => void][] = [
    ['moved', ({ plane, high, low, two }) => plane.tables.fdb.learn(0, high, low, two, plane.tick + 1)],
    ['deleted', ({ plane, high, low }) => plane.tables.fdb.delete(0, high, low)],
    ['made static', ({ plane, high, low, two }) => plane.tables.fdb.putStatic(0, high, low, two)],
    ['aged', ({ plane, high, low }) => plane.tables.fdb.age(plane.tables.fdb.table.find(0, high, low))],
    ['all withdrawn', ({ flows }) => flows.withdrawAll()],
    ['offload disabled', ({ flows }) => flows.use(false)],
    ['capture', ({ flows }) => flows.pause(true)],
    ['maps removed', ({ flows }) => flows.set(undefined, 0, 0, false)],
  ];
  for (const [why, act] of cases) {
    const world = known();
    world.sent(true);
    world.received(false);
    t.equal(world.maps.rows.size, 2);
    act(world);
    t.equal(world.maps.rows.size, 0, why);
  }
});

t.test('a path report ends leases only if it lowers the path of a peer', async (t) => {
  const { plane, maps, sent, received } = known();
  sent(true);
  received(false);
  const report = (address: string, port: number, mtu: number) => {
    const row = new Int32Array(sourceRow(address, port).buffer);
    t.notOk(isForwarding({ op: 'path.report', row, mtu }), 'the request itself ends no lease');
    plane.apply({ op: 'path.report', row, mtu });
    return plane.loop.lowerPath(row, 0, mtu, plane.nowMs / 1000);
  };
  const cases: [string, string, number, number][] = [
    ['a stranger', '203.0.113.1', 4789, 576],
    ['another port of a peer', '192.0.2.1', 4790, 576],
    ['an MTU that the path does not exceed', '192.0.2.1', 4789, 100_000],
    ['the largest MTU there is', '192.0.2.1', 4789, 2 ** 31 - 1],
  ];
  for (const [what, address, port, mtu] of cases)
    for (let i = 0; i < 100; i++) if (report(address, port, mtu)) t.fail(`${what} lowers a path`);
  t.equal(maps.removals, 0);
  t.equal(maps.rows.size, 2, 'both leases continue');
  plane.apply({
    op: 'path.report',
    row: new Int32Array(sourceRow('192.0.2.1', 4789).buffer),
    mtu: 1400,
  });
  t.equal(maps.rows.size, 0, 'a report that lowers the path ends both leases');
  sent(true);
  const { puts } = maps;
  for (let i = 0; i < 100; i++) report('192.0.2.1', 4789, 1400);
  t.equal(maps.puts, puts, 'the same report again ends no lease');
});

t.test('the kernel’s counts are added once to VNI and peer, and the counter identity holds', async (t) => {
  const { plane, one, maps, flows, sent, received, wait } = known();
  const { counters } = plane.tables;
  maps.slots.set(FIRST_SLOT, [1, 2, 3, 4]);
  for (let slot = 0; slot < SLOTS; slot++) maps.slots.set(FIRST_SLOT + slot, [7, 700, 5, 500]);
  sent(true);
  received(true);
  wait(COUNT_PERIOD_MS);
  const peer = (cell: number) => counters.cells[counters.peerBase(one) + cell];
  t.equal(peer(P_TX_FRAMES), 0, 'counts of a former station in the slot are not added');
  const { slot } = maps.row(TO_STATION)!;
  maps.slots.set(slot, [17, 1700, 8, 800]);
  wait(COUNT_PERIOD_MS);
  wait(COUNT_PERIOD_MS);
  t.equal(peer(P_TX_FRAMES), 10);
  t.equal(peer(P_TX_BYTES), 1000);
  t.equal(peer(P_RX_FRAMES), 3);
  t.equal(peer(P_RX_BYTES), 300);
  t.equal(plane.vniCell(0, V_TAP_RX_FRAMES), 10);
  t.equal(plane.vniCell(0, V_TAP_TX_BYTES), 300);
  t.ok(peer(P_LAST_SEEN_MS) > 0, 'the time at which the peer was last seen is set');
  maps.slots.set(slot, [18, 1800, 8, 800]);
  flows.withdrawAll();
  t.equal(peer(P_TX_FRAMES), 11, 'the remaining counts are added when the lease ends');
  plane.checkIdentity(t, 'flows');
});

t.test('with several workers, leases of other workers end as well', async (t) => {
  const { plane, high, low, two, maps, flows } = known({}, true);
  const other = { vni: 100, high, low, direction: FROM_STATION } as FlowRow;
  maps.put(other);
  plane.tables.fdb.learn(0, high, low, two, plane.tick + 1);
  t.equal(maps.rows.size, 0, 'a lease of another worker for a station that moves ends');
  maps.put(other);
  flows.withdrawAll();
  t.equal(maps.rows.size, 0, 'withdrawAll ends the leases of all workers');
});

t.test('a MAC that two peers claim in turn costs no system call per frame', async (t) => {
  const { plane, one, two, high, low, maps, sent, wait } = known();
  sent(true);
  for (let i = 0; i < 50; i++) {
    plane.tables.fdb.learn(0, high, low, i % 2 === 0 ? two : one, plane.tick);
    sent(true, i % 2 === 0 ? two : one);
  }
  t.equal(
    maps.puts,
    2,
    'each of the two slots that a station can use gives it one lease, then no more until it has rested',
  );
  t.equal(maps.rows.size, 0);
  wait(COUNT_PERIOD_MS);
  sent(true, one);
  t.equal(maps.rows.size, 1, 'the station may have a lease again after the hold-off');
});

t.test('a third station whose two possible slots are taken gets no lease', async (t) => {
  const { plane, one, maps, flows } = known();
  flows.set(maps, 0, 2, false);
  for (let i = 1; i <= 3; i++) {
    const { high, low } = macParts(macNumber(i));
    plane.tables.fdb.learn(0, high, low, one, plane.tick);
    flows.sent(0, high, low, one, true);
  }
  t.equal(maps.rows.size, 2);
  t.same([...maps.rows.values()].map(({ slot }) => slot).sort(), [0, 1]);
});

t.test('encap and decap report frames of both directions', async (t) => {
  const { plane, one, maps } = known();
  const frame = ipv4Frame(STATION, HERE);
  plane.fromTap(0, frame);
  plane.breathe();
  t.equal(maps.rows.size, 0, 'a frame that is no superframe creates no lease');
  plane.flows.sent(0, macParts(STATION).high, macParts(STATION).low, one, true);
  plane.fromUnderlay('192.0.2.1', concat(vxlanHeader(100), ipv4Frame(HERE, STATION)));
  plane.breathe();
  t.equal(maps.row(FROM_STATION)?.until, (plane.nowMs | 0) + LEASE_MS);
});

t.test('flow offload is active only with maps and while it is enabled', async (t) => {
  const { plane } = known();
  const flows = new Flows(plane.tables, { df: 'set', tos: 0, port: 4789 });
  t.notOk(flows.active);
  flows.use(true);
  t.notOk(flows.active);
  flows.set(new FakeMaps(), 0, 2, false);
  t.ok(flows.active);
});
