import { pino } from 'pino';
import t from 'tap';
import type { VniSettings } from '../../src/config/settings.js';
import { OverlayMtus } from '../../src/paths/overlay-mtu.js';

const settings = (vni: number, mtu: number | 'auto') => ({ vni, mtu }) as VniSettings;
const peer = (text: string) => ({ address: { text, family: 4 as const } });

function make() {
  const paths = new Map([
    ['192.0.2.1', 1500],
    ['192.0.2.2', 1400],
  ]);
  const lines: { level: number; msg: string }[] = [];
  const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const mtus = new OverlayMtus({ pathMtu: (address) => paths.get(address), log });
  const carried: [number, number][] = [];
  const carry = async (vni: number, overlayMtu: number) => void carried.push([vni, overlayMtu]);
  return { mtus, paths, carried, carry, warned: () => lines.filter(({ level }) => level === 40).length };
}

t.test('a change that cannot be applied is tried again', async (t) => {
  const { mtus, carried, carry } = make();
  t.equal(mtus.begin(settings(100, 'auto'), [peer('192.0.2.1')], 0), 1450);
  const both = () => [peer('192.0.2.1'), peer('192.0.2.2')];
  await t.rejects(mtus.follow(both, () => Promise.reject(new Error('the data plane is being restarted'))));
  t.equal(mtus.overlayMtu(100), 1450);
  await mtus.follow(both, carry);
  t.same(carried, [[100, 1350]]);
});

t.test('a failure for one VNI does not affect the others', async (t) => {
  const { mtus, carried } = make();
  for (const vni of [100, 200]) mtus.begin(settings(vni, 'auto'), [peer('192.0.2.1')], 0);
  const carry = async (vni: number, overlayMtu: number) => {
    if (vni === 100) throw new Error('there is no vtep100');
    carried.push([vni, overlayMtu]);
  };
  await t.rejects(
    mtus.follow(() => [peer('192.0.2.2')], carry),
    { message: 'there is no vtep100' },
  );
  t.same(carried, [[200, 1350]]);
  t.same([mtus.overlayMtu(100), mtus.overlayMtu(200)], [1450, 1350]);
});

t.test('with auto the overlay MTU is updated when peers or paths change', async (t) => {
  const { mtus, paths, carried, carry, warned } = make();
  const peers = [peer('192.0.2.1')];
  t.equal(mtus.begin(settings(100, 'auto'), peers, 0), 1450);
  const follow = () => mtus.follow(() => peers, carry);
  await follow();
  t.same(carried, [], 'nothing is applied without a change');
  peers.push(peer('192.0.2.2'));
  await follow();
  paths.set('192.0.2.2', 1300);
  await follow();
  peers.pop();
  await follow();
  t.same(carried, [
    [100, 1350],
    [100, 1250],
    [100, 1450],
  ]);
  t.equal(warned(), 0);
  t.same(mtus.reports(), []);
});

t.test('a VNI that is removed and added again logs its warning again', async (t) => {
  const { mtus, warned } = make();
  for (let time = 0; time < 20; time++) {
    mtus.begin(settings(100, 9000), [peer('192.0.2.1')], 0);
    mtus.end(100);
  }
  t.equal(warned(), 20);
});

t.test('an unbridged TAP has the configured MTU, or the computed one but at least 1280', async (t) => {
  const { mtus, paths } = make();
  const peers = [peer('192.0.2.1')];
  mtus.begin(settings(100, 1000), peers, 0);
  t.equal(mtus.unbridgedMtu(100), 1000);
  mtus.change(settings(100, 1100), peers, 0);
  t.equal(mtus.unbridgedMtu(100), 1100);
  paths.set('192.0.2.1', 1200);
  mtus.change(settings(100, 'auto'), peers, 0);
  t.same([mtus.overlayMtu(100), mtus.unbridgedMtu(100)], [1150, 1280]);
  mtus.begin(settings(200, 'auto'), peers, 0);
  t.equal(mtus.unbridgedMtu(200), 1280);
});

t.test('802.1Q tags reduce the overlay MTU', async (t) => {
  const { mtus } = make();
  t.equal(mtus.begin(settings(100, 'auto'), [peer('192.0.2.1')], 1), 1446);
  t.equal(mtus.tags(100), 1);
});

t.test('a configured MTU is kept; a warning is shown while it does not fit', async (t) => {
  const { mtus, paths, carried, carry, warned } = make();
  const peers = [peer('192.0.2.1')];
  t.equal(mtus.begin(settings(100, 9000), peers, 0), 9000);
  t.match(mtus.reports(), [
    {
      code: 'overlay_mtu_too_large',
      detail: /--mtu 9000 exceeds 1450, the largest that fits the path to 192\.0\.2\.1/,
    },
  ]);
  await mtus.follow(() => peers, carry);
  t.equal(warned(), 1, 'the warning is logged once');
  paths.set('192.0.2.1', 1400);
  await mtus.follow(() => peers, carry);
  t.equal(warned(), 2, 'the warning is logged again when its numbers change');
  paths.set('192.0.2.1', 9050);
  await mtus.follow(() => peers, carry);
  t.same(mtus.reports(), [], 'there is no warning when the MTU fits');
  t.same(carried, []);
});
