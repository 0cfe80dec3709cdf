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

t.test('a change that cannot be carried out is tried again', async (t) => {
  const { mtus, carried, carry } = make();
  t.equal(mtus.begin(settings(100, 'auto'), [peer('192.0.2.1')], 0), 1450);
  const both = () => [peer('192.0.2.1'), peer('192.0.2.2')];
  await t.rejects(mtus.follow(both, () => Promise.reject(new Error('the data plane is being restarted'))));
  t.equal(mtus.overlayMtu(100), 1450);
  await mtus.follow(both, carry);
  t.same(carried, [[100, 1350]]);
});

t.test('a VNI that cannot follow keeps no other from it', async (t) => {
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

t.test('auto follows as peers come and go and paths change', async (t) => {
  const { mtus, paths, carried, carry, warned } = make();
  const peers = [peer('192.0.2.1')];
  t.equal(mtus.begin(settings(100, 'auto'), peers, 0), 1450);
  const follow = () => mtus.follow(() => peers, carry);
  await follow();
  t.same(carried, [], 'nothing has changed');
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
  t.same(mtus.warnings(), []);
});

t.test('a VNI that goes and comes again begins anew to tell', async (t) => {
  const { mtus, warned } = make();
  for (let time = 0; time < 20; time++) {
    mtus.begin(settings(100, 9000), [peer('192.0.2.1')], 0);
    mtus.end(100);
  }
  t.equal(warned(), 20);
});

t.test('an unbridged TAP has what was asked for, or what follows, but then enough for IPv6', async (t) => {
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

t.test('tags of VLAN devices make it smaller', async (t) => {
  const { mtus } = make();
  t.equal(mtus.begin(settings(100, 'auto'), [peer('192.0.2.1')], 1), 1446);
  t.equal(mtus.tags(100), 1);
});

t.test('what was asked for stays, with a warning while it does not fit', async (t) => {
  const { mtus, paths, carried, carry, warned } = make();
  const peers = [peer('192.0.2.1')];
  t.equal(mtus.begin(settings(100, 9000), peers, 0), 9000);
  t.match(mtus.warnings(), [
    {
      code: 'overlay_mtu_too_large',
      detail: /--mtu 9000 was asked for, 1450 fits: the path to 192\.0\.2\.1/,
    },
  ]);
  await mtus.follow(() => peers, carry);
  t.equal(warned(), 1, 'said once');
  paths.set('192.0.2.1', 1400);
  await mtus.follow(() => peers, carry);
  t.equal(warned(), 2, 'and again when the numbers are others');
  paths.set('192.0.2.1', 9050);
  await mtus.follow(() => peers, carry);
  t.same(mtus.warnings(), [], 'it fits now');
  t.same(carried, []);
});
