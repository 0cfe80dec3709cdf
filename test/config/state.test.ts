/**
 * State: deviations applied to the configuration, and removed when they are changed back.
 */
import t from 'tap';
import * as edits from '../../src/config/edits.js';
import { parseConfig } from '../../src/config/file.js';
import { isGiven, mergeSettings } from '../../src/config/merge.js';
import type { VniSettings } from '../../src/config/settings.js';
import { applyState, contradictions, entriesOf, NO_STATE } from '../../src/config/state.js';

const BASE = mergeSettings(
  [
    parseConfig(
      'peers: [192.0.2.1]\nvnis: [{vni: 1, mtu: 1400, peers: [hub.example]}, {vni: 2}, {vni: 3}]',
      'v.yaml',
    ),
  ],
  false,
);
const MADE: VniSettings = {
  ...BASE.vnis[1],
  vni: 9,
  tap: 'x',
  peers: [{ host: '192.0.2.7', port: 8472, flood: false }],
};
const peer = (host: string, flood = true) => ({ host, port: 4789, flood });
const hosts = (vni: VniSettings) => vni.peers.map(({ host }) => host);

t.test('unchanged VNIs and lists of peers remain the same objects', async (t) => {
  t.equal(applyState(BASE, NO_STATE), BASE);
  const changed = edits.withChanges(BASE, NO_STATE, 1, { mtu: 1300 });
  const { vnis } = applyState(BASE, changed);
  t.equal(vnis[0].mtu, 1300);
  t.equal(vnis[0].peers, BASE.vnis[0].peers);
  t.equal(vnis[1], BASE.vnis[1]);
});

t.test('each VNI without a configured MAC keeps one, which changes no setting', async (t) => {
  let made = 0;
  const makeMac = () => `fe:00:00:00:00:0${++made}`;
  const state = edits.withMacs(NO_STATE, BASE.vnis, makeMac);
  t.strictSame(
    [...state.vnis].map(([vni, { mac }]) => [vni, mac]),
    [
      [1, 'fe:00:00:00:00:01'],
      [2, 'fe:00:00:00:00:02'],
      [3, 'fe:00:00:00:00:03'],
    ],
  );
  t.equal(edits.withMacs(state, BASE.vnis, makeMac), state, 'a MAC is made once');
  const { vnis } = applyState(BASE, state);
  for (const [i, vni] of vnis.entries()) t.equal(vni, BASE.vnis[i], 'the same object');
  t.strictSame(contradictions(BASE, state, isGiven), []);
  const configured = [{ ...BASE.vnis[0], mac: '02:00:00:00:00:01' }];
  t.notOk(edits.withMacs(state, configured, makeMac).vnis.has(1), 'a configured MAC replaces it');
  t.equal(edits.withMacs(state, [], makeMac), state, 'a VNI that is gone for a while keeps its MAC');
  t.notOk(edits.withoutVni(BASE, state, 1).vnis.get(1)?.mac, 'a removed VNI does not');
  const changed = edits.withChanges(BASE, state, 1, { mtu: 1300 });
  t.match(edits.withChanges(BASE, changed, 1, { mtu: 1400 }).vnis.get(1), { mac: 'fe:00:00:00:00:01' });
});

t.test('a VNI is created, changed and removed through the API', async (t) => {
  let state = edits.withVni(NO_STATE, MADE);
  t.strictSame(applyState(BASE, state).vnis[3], MADE);
  state = edits.withChanges(BASE, state, 9, { mtu: 1280, bridge: 'b' });
  state = edits.withPeer(BASE, state, 9, peer('192.0.2.8'));
  t.match(applyState(BASE, state).vnis[3], { mtu: 1280, bridge: 'b' });
  t.strictSame(hosts(applyState(BASE, state).vnis[3]), ['192.0.2.7', '192.0.2.8']);
  state = edits.withoutPeer(BASE, state, 9, '192.0.2.7', new Set(['192.0.2.7']));
  t.strictSame(hosts(applyState(BASE, state).vnis[3]), ['192.0.2.8']);
  t.strictSame(edits.withoutVni(BASE, state, 9), NO_STATE, 'no deviation is left');
});

t.test('a VNI of the file is removed and created again', async (t) => {
  let state = edits.withoutVni(BASE, NO_STATE, 2);
  t.strictSame(
    applyState(BASE, state).vnis.map(({ vni }) => vni),
    [1, 3],
  );
  state = edits.withVni(state, { ...MADE, vni: 2 });
  t.strictSame(
    applyState(BASE, state).vnis[2],
    { ...MADE, vni: 2 },
    'the configuration of the file is ignored',
  );
});

t.test('a deviation that is changed back is removed', async (t) => {
  let state = edits.withChanges(BASE, NO_STATE, 1, { mtu: 1300, learning: false });
  state = edits.withChanges(BASE, state, 1, { mtu: 1400, learning: true });
  t.strictSame(state, NO_STATE);
  state = edits.withoutPeer(BASE, NO_STATE, 1, 'hub.example', new Set());
  t.strictSame(hosts(applyState(BASE, state).vnis[0]), ['192.0.2.1']);
  t.strictSame(edits.withPeer(BASE, state, 1, peer('hub.example')), NO_STATE);
  state = edits.withPeer(BASE, NO_STATE, 1, peer('192.0.2.5'));
  t.strictSame(edits.withoutPeer(BASE, state, 1, '192.0.2.5', new Set()), NO_STATE);
});

t.test('static entries are removed with their peer', async (t) => {
  let state = edits.withEntry(NO_STATE, 1, '02:00:00:00:00:01', '192.0.2.1');
  state = edits.withEntry(state, 1, '02:00:00:00:00:02', '192.0.2.66');
  t.equal(
    edits.withoutEntries(state, 1, () => false),
    state,
    'the state is unchanged if no entry matches',
  );
  state = edits.withoutPeer(BASE, state, 1, '192.0.2.1', new Set(['192.0.2.1']));
  t.strictSame([...entriesOf(state, 1)], [['02:00:00:00:00:02', '192.0.2.66']]);
  state = edits.withoutEntries(state, 1, (_, address) => address === '192.0.2.66');
  t.strictSame([...entriesOf(state, 1)], []);
});

t.test('each deviation that overrides the configuration is described in one sentence', async (t) => {
  let state = edits.withChanges(BASE, NO_STATE, 1, { mtu: 1300, learning: false });
  state = edits.withoutPeer(BASE, state, 1, '192.0.2.1', new Set());
  state = edits.withPeer(BASE, state, 1, peer('hub.example', false));
  state = edits.withPeer(BASE, state, 1, peer('192.0.2.8'));
  state = edits.withoutVni(BASE, state, 2);
  state = edits.withVni(state, { ...MADE, vni: 3 });
  state = edits.withVni(state, MADE);
  t.strictSame(contradictions(BASE, state, isGiven), [
    'VNI 1: mtu is configured as 1400, but was changed through the API to 1300',
    'VNI 1: peer 192.0.2.1 is configured, but was removed through the API',
    'VNI 1: peer hub.example is configured, but was changed through the API',
    'VNI 2 is configured, but was removed through the API',
    'VNI 3 is configured, but was created through the API',
  ]);
});

t.test('deviations of a VNI that the file no longer has are ignored', async (t) => {
  const state = edits.withChanges(BASE, NO_STATE, 2, { mtu: 1300 });
  const later = { ...BASE, vnis: [BASE.vnis[0]] };
  t.strictSame(applyState(later, state).vnis, later.vnis);
  t.strictSame(contradictions(later, state, isGiven), []);
});
