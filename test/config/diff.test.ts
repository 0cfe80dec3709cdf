/** Difference between two configurations: VNIs added, removed, replaced and changed. */
import t from 'tap';
import { daemonDifference, describe, difference } from '../../src/config/diff.js';
import { parseConfig } from '../../src/config/file.js';
import { mergeSettings } from '../../src/config/merge.js';

const settings = (text: string) => mergeSettings([parseConfig(text, 'v.yaml')], false);
const between = (before: string, after: string) => difference(settings(before).vnis, settings(after).vnis);
const numbers = (vnis: readonly { vni: number }[]) => vnis.map(({ vni }) => vni);

t.test('equal settings have no difference', async (t) => {
  const text = 'peers: [192.0.2.1]\nvnis: [{vni: 1}, {vni: 2, address: 10.0.0.1/24}]';
  t.strictSame(between(text, text), { added: [], removed: [], replacing: [], changed: [] });
  const { vnis } = settings(text);
  t.strictSame(difference(vnis, vnis).changed, []);
});

t.test('VNIs are added and removed; a VNI with another TAP or MAC is recreated', async (t) => {
  const found = between(
    'vnis: [{vni: 1}, {vni: 2}, {vni: 3}, {vni: 4, address: 10.0.0.4/24}]',
    'vnis: [{vni: 1}, {vni: 2, tap: x}, {vni: 3, mac: "02:00:00:00:00:01"}, {vni: 5}, {vni: 6, address: 10.0.0.4/24}]',
  );
  t.strictSame(numbers(found.added), [5], 'VNI 5 has no number, device, address or MAC of a removed VNI');
  t.strictSame(numbers(found.removed), [2, 3, 4]);
  t.strictSame(numbers(found.replacing), [2, 3, 6], 'VNI 6 has the address of VNI 4');
  t.strictSame(found.changed, []);
  t.strictSame(describe(found), [
    'vni 4: removed',
    'vni 5: added',
    'vni 2: recreated',
    'vni 3: recreated',
    'vni 6: added',
  ]);
});

t.test('settings and peers of a VNI change in place', async (t) => {
  const found = between(
    'vnis: [{vni: 1, peers: [192.0.2.1, 192.0.2.2, 192.0.2.3]}, {vni: 2}]',
    'vnis: [{vni: 1, mtu: 1400, ageing: 5, bridge: b, peers: [192.0.2.1, "192.0.2.2,flood=off", 192.0.2.4]}, {vni: 2}]',
  );
  t.equal(found.changed.length, 1, 'the unchanged VNI is not listed');
  const [{ fields, peersAdded, peersRemoved }] = found.changed;
  t.strictSame(fields, ['bridge', 'mtu', 'ageingS']);
  t.strictSame(
    peersRemoved.map(({ host }) => host),
    ['192.0.2.2', '192.0.2.3'],
  );
  t.strictSame(peersAdded, [
    { host: '192.0.2.2', port: 4789, flood: false },
    { host: '192.0.2.4', port: 4789, flood: true },
  ]);
  t.strictSame(describe(found), [
    'vni 1: bridge',
    'vni 1: mtu',
    'vni 1: ageing',
    'vni 1: peer 192.0.2.3 removed',
    'vni 1: peer 192.0.2.2 changed',
    'vni 1: peer 192.0.2.4 added',
  ]);
});

t.test('changed settings that are not per VNI are listed', async (t) => {
  const before = settings('vnis: [{vni: 1}]');
  const after = settings('vnis: [{vni: 2}]\nport: 8472\nlocal: 192.0.2.9\napi: off');
  t.strictSame(daemonDifference(before, after), ['local', 'port', 'api']);
  t.strictSame(daemonDifference(before, before), []);
});
