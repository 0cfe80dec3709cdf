import t from 'tap';
import { FdbEventReader } from '../../src/controller/fdb-event-reader.js';
import type { FdbReport } from '../../src/exchange/fdb-report.js';
import { arpFrame, BROADCAST, macNumber } from '../support/frames.js';
import { MemoryPlane } from '../support/memory-plane.js';

const A = '192.0.2.1';
const B = '2001:db8::1';
const STRANGER = '198.51.100.9';

const addressText = ({ family, bytes }: { family: 4 | 6; bytes: Uint8Array }) =>
  family === 4 ? bytes.subarray(0, 4).join('.') : Buffer.from(bytes).toString('hex');

const IPV6_TEXT = '20010db8000000000000000000000001';

function makePlane(options: { isFirst?: boolean; on?: boolean } = {}) {
  const plane = new MemoryPlane(options);
  plane.addVni(0, 100, { ageingS: 10 });
  plane.addVni(1, 16_000_000, { accept: 'any', flood: false });
  for (const peer of [A, B]) plane.addPeer(0, peer);
  if (options.on !== false) plane.apply({ op: 'events', on: true });
  const reader = new FdbEventReader(addressText);
  const heard = (from: string, n: number, vni = 100) => {
    plane.fromPeer(from, vni, arpFrame(BROADCAST, macNumber(n)));
    plane.breathe();
  };
  const sent = (n: number, vniIdx = 0) => {
    plane.fromTap(vniIdx, arpFrame(macNumber(n), macNumber(99)));
    plane.breathe();
  };
  /** What a report says, a tick later. */
  const told = () => {
    plane.pass(100);
    const report = plane.fdbEvents.takeReport();
    return report ? reader.read(report) : [];
  };
  return { plane, heard, sent, told };
}

t.test('learned, moved, aged and missed, each in words', async (t) => {
  const { plane, heard, sent, told } = makePlane();
  heard(A, 1);
  heard(A, 1);
  heard(B, 1);
  heard(STRANGER, 2, 16_000_000);
  sent(7);
  t.same(told(), [
    { type: 'learned', vni: 100, mac: macNumber(1), peer: A },
    { type: 'moved', vni: 100, mac: macNumber(1), peer: IPV6_TEXT, from: A },
    { type: 'learned', vni: 16_000_000, mac: macNumber(2), peer: STRANGER },
    { type: 'miss', vni: 100, mac: macNumber(7) },
  ]);
  t.same(told(), [], 'told once');
  plane.pass(12_000);
  t.same(told(), [{ type: 'aged', vni: 100, mac: macNumber(1), peer: IPV6_TEXT }]);
});

t.test('a miss is told once a second, flooded or not', async (t) => {
  const { plane, sent, told } = makePlane();
  for (let i = 0; i < 5; i++) {
    sent(7, 1);
    sent(8, 1);
  }
  t.equal(told().length, 2);
  sent(7, 1);
  t.equal(told().length, 0);
  plane.pass(1000);
  sent(7, 1);
  t.same(told(), [{ type: 'miss', vni: 16_000_000, mac: macNumber(7) }]);
  t.equal(plane.drops(1, 'encap').flood_off, 12);
});

t.test('nobody listens: nothing is noted, and what was not fetched is forgotten', async (t) => {
  const { plane, heard, sent, told } = makePlane({ on: false });
  heard(A, 1);
  sent(7);
  t.same(told(), []);
  plane.apply({ op: 'events', on: true });
  heard(A, 2);
  plane.apply({ op: 'events', on: false });
  heard(A, 3);
  t.same(told(), []);
  t.same([plane.tables.fdb.changeWatch, plane.tables.fdb.missWatch], [undefined, undefined]);
});

t.test(
  'one more who listens costs no event; entries of a VNI that is being removed are not told of',
  async (t) => {
    const { plane, heard, told } = makePlane();
    heard(A, 1);
    plane.apply({ op: 'events', on: true });
    t.equal(told().length, 1);
    for (let n = 0; n < 30_000; n++) plane.fromPeer(A, 100, arpFrame(BROADCAST, macNumber(n)));
    plane.breathe();
    told();
    plane.applier.apply({ op: 'vni.del', vniIdx: 0 }, plane.tick);
    t.equal(plane.applier.busy, true);
    plane.pass(20_000);
    t.same(told(), []);
  },
);

t.test('a report has 256 events at most, the rest is counted; there is one a tick', async (t) => {
  const { plane, heard, told } = makePlane();
  for (let n = 0; n < 1000; n++) plane.fromPeer(A, 100, arpFrame(BROADCAST, macNumber(n)));
  plane.breathe();
  const events = told();
  t.equal(events.length, 257);
  t.same(events.at(-1), { type: 'lost', count: 744 });
  heard(A, 2000);
  t.equal(plane.fdbEvents.takeReport(), undefined, 'not in the same tick');
  t.equal(told().length, 1);
});

t.test('several workers: the first tells of entries, each of what it missed, and none twice', async (t) => {
  const { plane, heard, sent } = makePlane({ isFirst: false });
  heard(A, 1);
  sent(7);
  plane.pass(100);
  const report = plane.fdbEvents.takeReport() as FdbReport;
  const reader = new FdbEventReader(addressText);
  const miss = { type: 'miss', vni: 100, mac: macNumber(7) };
  t.same(reader.read(report), [miss]);
  t.same(reader.read({ ...report, tick: report.tick - 9 }), [], 'another worker, within the second');
  t.same(reader.read({ ...report, tick: report.tick + 10 }), [miss]);
});
