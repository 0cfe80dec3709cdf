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
  const receive = (from: string, n: number, vni = 100) => {
    plane.fromPeer(from, vni, arpFrame(BROADCAST, macNumber(n)));
    plane.breathe();
  };
  const sent = (n: number, vniIdx = 0) => {
    plane.fromTap(vniIdx, arpFrame(macNumber(n), macNumber(99)));
    plane.breathe();
  };
  /** Events of the next report, one tick (100 ms) later. */
  const report = () => {
    plane.pass(100);
    const report = plane.fdbEvents.takeReport();
    return report ? reader.read(report) : [];
  };
  return { plane, receive, sent, report };
}

t.test('reports learned, moved, aged and missed entries', async (t) => {
  const { plane, receive, sent, report } = makePlane();
  receive(A, 1);
  receive(A, 1);
  receive(B, 1);
  receive(STRANGER, 2, 16_000_000);
  sent(7);
  t.same(report(), [
    { type: 'learned', vni: 100, mac: macNumber(1), peer: A },
    { type: 'moved', vni: 100, mac: macNumber(1), peer: IPV6_TEXT, from: A },
    { type: 'learned', vni: 16_000_000, mac: macNumber(2), peer: STRANGER },
    { type: 'miss', vni: 100, mac: macNumber(7) },
  ]);
  t.same(report(), [], 'each event is reported once');
  plane.pass(12_000);
  t.same(report(), [{ type: 'aged', vni: 100, mac: macNumber(1), peer: IPV6_TEXT }]);
});

t.test('a miss is reported once a second, whether the frame is flooded or not', async (t) => {
  const { plane, sent, report } = makePlane();
  for (let i = 0; i < 5; i++) {
    sent(7, 1);
    sent(8, 1);
  }
  t.equal(report().length, 2);
  sent(7, 1);
  t.equal(report().length, 0);
  plane.pass(1000);
  sent(7, 1);
  t.same(report(), [{ type: 'miss', vni: 16_000_000, mac: macNumber(7) }]);
  t.equal(plane.drops(1, 'encap').flood_off, 12);
});

t.test('without subscribers no event is recorded, and pending events are discarded', async (t) => {
  const { plane, receive, sent, report } = makePlane({ on: false });
  receive(A, 1);
  sent(7);
  t.same(report(), []);
  plane.apply({ op: 'events', on: true });
  receive(A, 2);
  plane.apply({ op: 'events', on: false });
  receive(A, 3);
  t.same(report(), []);
  t.same([plane.tables.fdb.changeWatch, plane.tables.fdb.missWatch], [undefined, undefined]);
});

t.test('a second subscriber loses no event, and a VNI that is being removed causes no event', async (t) => {
  const { plane, receive, report } = makePlane();
  receive(A, 1);
  plane.apply({ op: 'events', on: true });
  t.equal(report().length, 1);
  for (let n = 0; n < 30_000; n++) plane.fromPeer(A, 100, arpFrame(BROADCAST, macNumber(n)));
  plane.breathe();
  report();
  plane.applier.apply({ op: 'vni.del', vniIdx: 0 }, plane.tick);
  t.equal(plane.applier.busy, true);
  plane.pass(20_000);
  t.same(report(), []);
});

t.test('a report has at most 256 events and counts the others; a tick has one report at most', async (t) => {
  const { plane, receive, report } = makePlane();
  for (let n = 0; n < 1000; n++) plane.fromPeer(A, 100, arpFrame(BROADCAST, macNumber(n)));
  plane.breathe();
  const events = report();
  t.equal(events.length, 257);
  t.same(events.at(-1), { type: 'lost', count: 744 });
  receive(A, 2000);
  t.equal(plane.fdbEvents.takeReport(), undefined, 'no second report is made in the same tick');
  t.equal(report().length, 1);
});

t.test(
  'only the first worker reports changes of entries, every worker reports its own misses, and no event is repeated',
  async (t) => {
    const { plane, receive, sent } = makePlane({ isFirst: false });
    receive(A, 1);
    sent(7);
    plane.pass(100);
    const report = plane.fdbEvents.takeReport() as FdbReport;
    const reader = new FdbEventReader(addressText);
    const miss = { type: 'miss', vni: 100, mac: macNumber(7) };
    t.same(reader.read(report), [miss]);
    t.same(
      reader.read({ ...report, tick: report.tick - 9 }),
      [],
      'a miss of another worker within the second is not reported again',
    );
    t.same(reader.read({ ...report, tick: report.tick + 10 }), [miss]);
  },
);
