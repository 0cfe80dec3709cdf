/**
 * Format of the state file: messages for invalid texts, with file, line and key; valid texts.
 */
import t from 'tap';
import { ConfigError } from '../../src/config/config-error.js';
import * as edits from '../../src/config/edits.js';
import { parseConfig } from '../../src/config/file.js';
import { mergeSettings } from '../../src/config/merge.js';
import { Source } from '../../src/config/source.js';
import { NO_STATE } from '../../src/config/state.js';
import { readState, writeState } from '../../src/config/text.js';

const FOREIGN = 's.json:1: not a vtepd state file: "format" is not "vtepd-state-1"';

const [MADE] = mergeSettings([parseConfig('vnis: [{vni: 1}]', 'v.yaml')], false).vnis;

/** Returns the text of a state file in which VNI 1 has the deviations `vni`. */
const of = (vni: string) => `{"format": "vtepd-state-1",\n "vnis": {"1":\n${vni}\n}}`;

const refused: [string, string, RegExp | string][] = [
  ['empty text', '', FOREIGN],
  ['not a map', '[1]', FOREIGN],
  ['another program', '{"name": "x"}', FOREIGN],
  ['another format', '{"format": "vtepd-state-2", "vnis": {}}', FOREIGN],
  ['truncated text', '{"format": "vtepd-state-1",\n "vnis": {"1": {"cha', /^s\.json:2: not valid YAML: /],
  ['an unknown key', '{"format": "vtepd-state-1",\n "vni": {}}', /^s\.json:2: vni: unknown key/],
  [
    'an invalid VNI',
    of('{}').replace('"1"', '"16777216"'),
    /^s\.json:3: vnis\.16777216: must be a whole number/,
  ],
  [
    'an unknown part of a VNI',
    of('{"peer": {}}'),
    /^s\.json:3: vnis\.1\.peer: unknown key; did you mean "peers"\?/,
  ],
  ['an unknown setting', of('{"changed": {"mtuu": 1}}'), /^s\.json:3: vnis\.1\.changed\.mtuu: unknown key/],
  [
    'an invalid value',
    of('{"changed":\n{"mtu": 20}}'),
    's.json:4: vnis.1.changed.mtu 20: must be "auto" or a whole number from 68 to 65535',
  ],
  ['a setting without value', of('{"changed": {"mtu": null}}'), 's.json:3: vnis.1.changed.mtu: has no value'],
  ['removed: false', of('{"removed": false}'), 's.json:3: vnis.1.removed: must be true or absent'],
  [
    'an invalid peer',
    of('{"peers": {"192.0.2.300": null}}'),
    /^s\.json:3: vnis\.1\.peers\.192\.0\.2\.300 192\.0\.2\.300: must be an IPv4/,
  ],
  [
    'a peer without port',
    of('{"peers": {"192.0.2.3": {"flood": true}}}'),
    's.json:3: vnis.1.peers.192.0.2.3: has no "port"',
  ],
  [
    'an invalid MAC',
    of('{"fdb": {"01:00:00:00:00:01": "192.0.2.1"}}'),
    /^s\.json:3: vnis\.1\.fdb\.01:00:00:00:00:01: must be a unicast MAC/,
  ],
  [
    'an invalid FDB entry',
    of('{"fdb": {"02:00:00:00:00:01": "x"}}'),
    /^s\.json:3: vnis\.1\.fdb\.\S+ x: must be an IPv4 or IPv6/,
  ],
];

for (const [what, text, message] of refused) {
  t.test(`refused: ${what}`, async (t) => {
    t.type(
      t.throws(() => readState(text, 's.json'), { message }),
      ConfigError,
    );
  });
}

t.test('a written state is read back unchanged', async (t) => {
  const source = new Source();
  source.addVni('--vni', '1');
  source.addVni('--vni', '2');
  source.all.addPeer('--peer', '192.0.2.1');
  const base = mergeSettings([source], false);
  let state = edits.withChanges(base, NO_STATE, 1, { mtu: 1300, learning: false, bridge: 'b', ageingS: 0 });
  state = edits.withoutPeer(base, state, 1, '192.0.2.1', new Set());
  state = edits.withPeer(base, state, 1, { host: 'fe80::1%eth0', port: 1, flood: false });
  state = edits.withEntry(state, 1, '02:00:00:00:00:01', 'fe80::1%eth0');
  state = edits.withoutVni(base, state, 2);
  const addresses = ['10.0.0.1/24', '2001:db8::1/64'];
  state = edits.withVni(state, { ...base.vnis[0], vni: 3, tap: 'x', bridge: '', addresses, mtu: 'auto' });
  t.strictSame(readState(writeState(state), 's.json'), state);
  t.strictSame(readState(writeState(NO_STATE), 's.json'), NO_STATE);
  const none = edits.withChanges(base, NO_STATE, 1, { tap: 'y', bridge: '' });
  t.strictSame(readState(writeState(none), 's.json'), none);
});

t.test('the MAC made for a TAP is written where earlier versions read it, and read back', async (t) => {
  const source = new Source();
  for (const vni of ['1', '2']) source.addVni('--vni', vni);
  const base = mergeSettings([source], false);
  let state = edits.withChanges(base, NO_STATE, 1, { mtu: 1300 });
  state = edits.withMacs(state, base.vnis, () => 'fe:00:00:00:00:01');
  const text = writeState(state);
  t.strictSame(JSON.parse(text).vnis, {
    1: { changed: { mtu: 1300, mac: 'fe:00:00:00:00:01' } },
    2: { changed: { mac: 'fe:00:00:00:00:01' } },
  });
  t.strictSame(readState(text, 's.json'), state);
  const none = readState(of('{"changed": {"mac": null}}'), 's.json').vnis.get(1);
  t.match(none?.changed, { mac: '' }, 'null removes the MAC of the configuration');
  t.equal(none?.mac, undefined);
});

t.test('a name that stands for many hosts is read back', async (t) => {
  const peer = { host: 'all.example', port: 4789, flood: true, all: true as const };
  const state = edits.withPeer(mergeSettings([], false), edits.withVni(NO_STATE, MADE), 1, peer);
  t.strictSame(readState(writeState(state), 's.json').vnis.get(1)?.peers.get('all.example'), peer);
});

t.test('null removes the bridge of the configuration, and an empty list removes its addresses', async (t) => {
  const { vnis } = readState(of('{"changed": {"bridge": null, "address": []}}'), 's.json');
  t.strictSame(vnis.get(1)?.changed, { bridge: '', addresses: [] });
});
