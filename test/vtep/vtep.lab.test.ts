/**
 * A VTEP in a network namespace that is changed while it runs.
 *
 * Each kind of change takes effect, and a failed change leaves everything as it was. Devices are
 * checked as ip(8) shows them.
 */
import '../host/own-namespace.js';
import { execFileSync } from 'node:child_process';
import t from 'tap';
import { readOptions } from '../../src/config/file.js';
import { mergeSettings } from '../../src/config/merge.js';
import type { PeerSettings, VniSettings } from '../../src/config/settings.js';
import { entriesOf, NO_STATE, type State } from '../../src/config/state.js';
import type { StampedEvent } from '../../src/exchange/events.js';
import { Vtep } from '../../src/vtep/vtep.js';
import { parseMac } from '../../src/wire/mac.js';

const MAC = parseMac('02:00:00:00:00:aa')!;
const ip = (command: string) => execFileSync('ip', ['-json', ...command.split(' ')], { encoding: 'utf8' });
const peer = (host: string, flood = true): PeerSettings => ({ host, port: 4789, flood });

ip('link set lo up');
ip('link add under type veth peer name far');
ip('address add 192.0.2.1/24 dev under');
ip('link set under up');
ip('link set far up');

/** A store in memory that fails on request. */
class Store {
  state: State = NO_STATE;
  failsAt: '' | 'prepare' | 'commit' = '';
  discarded = 0;

  async prepare(state: State) {
    if (this.failsAt === 'prepare') throw new Error('disk full');
    return {
      commit: async () => {
        if (this.failsAt === 'commit') throw new Error('disk gone');
        this.state = state;
      },
      discard: async () => {
        this.discarded++;
      },
    };
  }
}

const store = new Store();
let file: object = { vnis: [{ vni: 100, bridge: 'br0', peers: ['192.0.2.11', '192.0.2.12'] }] };
const read = () => mergeSettings([readOptions(file)], false);
const vtep = await Vtep.of(read(), { store, reread: read });
t.teardown(() => vtep.stop());
const seen: StampedEvent['event'][] = [];
const listening = (async () => {
  for await (const { event } of vtep.events.subscribe()) seen.push(event);
})();

const made = (vni: number, own: Partial<VniSettings> = {}): VniSettings => ({
  ...vtep.settings(100),
  vni,
  tap: `vtep${vni}`,
  bridge: '',
  peers: [],
  ...own,
});

t.test('a VNI is added and removed', async (t) => {
  await vtep.addVni(made(200, { addresses: ['10.0.0.1/24'], mtu: 1400, peers: [peer('192.0.2.13')] }));
  t.match(device('vtep200'), { mtu: 1400, addresses: ['10.0.0.1/24'] });
  t.strictSame(texts(200), ['192.0.2.13']);
  t.ok(store.state.vnis.get(200)?.created);
  await t.rejects(vtep.addVni(made(200)), { code: 'vni_exists' });
  await vtep.removeVni(200);
  t.equal(device('vtep200'), undefined);
  t.strictSame(changesIn(store.state), []);
  t.throws(() => vtep.settings(200), { code: 'vni_not_found' });
  await t.rejects(vtep.removeVni(200), { code: 'vni_not_found' });
});

t.test('the public data plane is read-only', async (t) => {
  t.equal(vtep.dataPlane.vnis().length, 1);
  for (const change of ['addVni', 'addPeers', 'removePeer', 'putFdb', 'deleteFdb', 'flushFdb', 'stop'])
    t.notOk(change in vtep.dataPlane, change);
});

t.test('a VTEP that forwards is ready', async (t) => {
  t.strictSame(vtep.notReady(), []);
});

t.test('concurrent changes of VNIs with one bridge are serialised', async (t) => {
  await Promise.all([vtep.addVni(made(200, { bridge: 'br1' })), vtep.addVni(made(201, { bridge: 'br1' }))]);
  await Promise.all([vtep.removeVni(200), vtep.addVni(made(202, { bridge: 'br1' }))]);
  t.match(device('vtep201'), { master: 'br1' });
  await Promise.all([vtep.removeVni(201), vtep.removeVni(202)]);
  t.equal(device('br1'), undefined, 'the bridge is removed with its last VNI');
});

t.test('settings are changed at run time and changed back', async (t) => {
  const before = vtep.settings(100);
  await vtep.changeVni(100, {
    ageingS: 5,
    learning: false,
    mtu: 1300,
    addresses: ['10.1.0.1/24'],
    bridge: '',
  });
  t.match(vtep.dataPlane.vnis()[0], {
    bridge: '',
    policy: { ageingS: 5, learning: false, overlayMtu: 1300, packetMax: 1300 },
  });
  t.match(device('vtep100'), { mtu: 1300, master: '', addresses: ['10.1.0.1/24'] });
  t.equal(device('br0'), undefined, 'an empty bridge of vtepd is removed');
  await vtep.changeVni(100, { bridge: 'br2', addresses: ['10.1.0.2/24'] });
  t.match(device('vtep100'), { mtu: 1500, master: 'br2', addresses: [] });
  t.match(device('br2'), { addresses: ['10.1.0.2/24'] }, 'the addresses of a bridged TAP are on its bridge');
  await t.rejects(vtep.changeVni(100, { tap: 'x' }), { message: /remove the VNI and add it again/ });
  await vtep.changeVni(100, before);
  t.strictSame(changesIn(store.state), [], 'settings that equal the file are not in the state');
  t.match(device('vtep100'), { master: 'br0', addresses: [] });
  t.equal(device('br2'), undefined);
});

t.test('a configured device MTU can be below 1280, an automatic device MTU cannot', async (t) => {
  await vtep.addVni(made(200, { mtu: 1000 }));
  t.match(device('vtep200'), { mtu: 1000 });
  await vtep.changeVni(200, { mtu: 1100 });
  t.match(device('vtep200'), { mtu: 1100 });
  await vtep.removeVni(200);
  ip('route add 203.0.113.1/32 dev under mtu lock 1200');
  const narrow = { peers: [peer('203.0.113.1')], addresses: ['2001:db8::1/64'] };
  await vtep.addVni(made(200, { mtu: 'auto', ...narrow }));
  t.match(device('vtep200'), { mtu: 1280, addresses: ['2001:db8::1/64'] });
  t.equal(vtep.dataPlane.vnis().find(({ vni }) => vni === 200)?.policy.overlayMtu, 1150);
  await vtep.removeVni(200);
});

t.test('peers and static entries are added and removed', async (t) => {
  t.strictSame(
    (await vtep.addPeer(100, peer('192.0.2.14', false))).map(({ address, flood }) => [address.text, flood]),
    [['192.0.2.14', false]],
  );
  await t.rejects(vtep.addPeer(100, peer('192.0.2.14')), { code: 'peer_exists' });
  await vtep.putFdb(100, MAC, '192.0.2.14');
  t.strictSame(await entries(), ['192.0.2.14']);
  t.strictSame([...entriesOf(store.state, 100).values()], ['192.0.2.14']);
  await vtep.removePeer(100, '192.0.2.14');
  t.strictSame(await entries(), []);
  t.strictSame(changesIn(store.state), [], 'the entry was removed with its peer');
  await t.rejects(vtep.removePeer(100, '192.0.2.14'), { code: 'peer_not_found' });
  await vtep.putFdb(100, MAC, '192.0.2.11');
  t.equal(await vtep.flushFdb(100, { type: 'static', peer: '192.0.2.12' }), 0);
  t.equal(await vtep.flushFdb(100, { type: 'static', peer: '' }), 1);
  await t.rejects(vtep.deleteFdb(100, MAC), { code: 'fdb_entry_not_found' });
  t.strictSame(changesIn(store.state), []);
});

t.test('the overlay MTU is current when a change resolves', async (t) => {
  ip('route add 203.0.113.2/32 dev under mtu lock 1400');
  const overlayMtu = () => vtep.dataPlane.vnis().find(({ vni }) => vni === 200)?.policy.overlayMtu;
  for (let round = 0; round < 20; round++) {
    // Each addition of a peer adjusts every overlay MTU; this addition runs while VNI 200 is
    // being added.
    const other = vtep.addPeer(100, peer('192.0.2.16'));
    await vtep.addVni(made(200, { mtu: 'auto', peers: [peer('203.0.113.2')] }));
    t.equal(overlayMtu(), 1350, 'the overlay MTU of an added VNI fits its peer');
    await other;
    await vtep.removePeer(200, '203.0.113.2');
    t.equal(overlayMtu(), 1450, 'the overlay MTU is larger without the peer');
    await vtep.addPeer(200, peer('203.0.113.2'));
    t.equal(overlayMtu(), 1350, 'the overlay MTU fits the peer that was added');
    await Promise.all([vtep.removeVni(200), vtep.removePeer(100, '192.0.2.16')]);
  }
});

for (const failsAt of ['prepare', 'commit'] as const) {
  t.test(`a change whose state cannot be stored (${failsAt}) has no effect`, async (t) => {
    const before = await everything();
    store.failsAt = failsAt;
    const message = failsAt === 'prepare' ? 'disk full' : 'disk gone';
    const changes: (() => Promise<unknown>)[] = [
      () => vtep.addVni(made(200, { bridge: 'br1' })),
      () => vtep.changeVni(100, { ageingS: 1, mtu: 1280, bridge: 'br1', addresses: ['10.9.0.1/24'] }),
      () => vtep.addPeer(100, peer('192.0.2.15')),
      () => vtep.removePeer(100, '192.0.2.11'),
      () => vtep.putFdb(100, MAC, '192.0.2.11'),
      () => vtep.removeVni(100),
    ];
    for (const change of changes) {
      await t.rejects(
        change().then(() => {}),
        { message },
      );
      t.strictSame(await everything(), before, String(change));
    }
    store.failsAt = '';
  });
}

t.test('a change that the operating system or a rule refuses has no effect', async (t) => {
  const before = await everything();
  await t.rejects(vtep.addVni(made(200, { tap: 'under' })), { name: 'HostError' });
  await t.rejects(vtep.addVni(made(200, { tap: 'vtep100' })), {
    message: /^tap vtep100: already used by VNI 100/,
  });
  await t.rejects(vtep.changeVni(100, { ageingS: 1, bridge: 'under' }), { name: 'HostError' });
  t.strictSame(await everything(), before);
});

t.test('a reload applies the settings of the file except those that the API changed', async (t) => {
  await vtep.changeVni(100, { ageingS: 9 });
  const good = file;
  file = { vnis: [{ vni: 100, bridge: 'br0', ageing: 20, peers: ['192.0.2.11'] }, { vni: 300 }], ttl: 3 };
  t.strictSame(await vtep.reload(), {
    changed: ['vni 300: added', 'vni 100: peer 192.0.2.12 removed'],
    needsRestart: ['--ttl'],
    hasFile: true,
  });
  t.equal(vtep.settings(100).ageingS, 9, 'the API overrides the file');
  t.strictSame(codes(), ['restart_needed', 'state_overrides']);
  file = { vnis: [{ vni: 100, mtu: 1 }] };
  const before = await everything();
  await t.rejects(vtep.reload(), { message: /^vnis\[0\]\.mtu 1: must be/ });
  t.strictSame(await everything(), before);
  t.strictSame(codes(), ['reload_failed', 'restart_needed', 'state_overrides']);
  file = good;
  t.strictSame((await vtep.reload()).changed, ['vni 300: removed', 'vni 100: peer 192.0.2.12 added']);
  t.strictSame(codes(), []);
});

t.test('events report every change, and end with the VTEP', async (t) => {
  await vtep.stop();
  await listening;
  await t.rejects(vtep.removeVni(100), { code: 'dataplane_down' });
  const vnis = seen.flatMap((event) => (event.type === 'vni' ? [`${event.action} ${event.vni}`] : []));
  t.strictSame(vnis.slice(0, 2), ['added 200', 'removed 200']);
  t.ok(vnis.includes('changed 100'));
  const ofPeer = seen.flatMap((event) =>
    event.type === 'peer' && event.peer === '192.0.2.14' ? [event.action] : [],
  );
  t.strictSame(ofPeer.slice(0, 2), ['added', 'removed']);
  t.strictSame(
    JSON.parse(ip('link show'))
      .map(({ ifname }: { ifname: string }) => ifname)
      .sort(),
    ['far', 'lo', 'under'],
    'no device of the VTEP is left',
  );
});

function device(name: string): { mtu: number; master: string; addresses: string[] } | undefined {
  const found = JSON.parse(ip('address show')).find(({ ifname }: { ifname: string }) => ifname === name);
  if (found === undefined) return undefined;
  const addresses: { local: string; prefixlen: number; scope: string }[] = found.addr_info;
  return {
    mtu: found.mtu,
    master: found.master ?? '',
    addresses: addresses
      .filter(({ scope }) => scope === 'global')
      .map(({ local, prefixlen }) => `${local}/${prefixlen}`),
  };
}

function texts(vni: number): string[] {
  return vtep.dataPlane.peers(vni).map(({ address }) => address.text);
}

async function entries(): Promise<string[]> {
  const { items } = await vtep.dataPlane.listFdb(100, { type: 'all', peer: '' }, 100, 0);
  return items.map((entry) => entry.peer);
}

async function everything() {
  const vnis = vtep.dataPlane
    .vnis()
    .map(({ vni, tap, bridge, mac, policy }) => ({ vni, tap, bridge, mac, policy }));
  const devices = JSON.parse(ip('link show')).map(({ ifname }: { ifname: string }) => ifname);
  const peers = vnis.map(({ vni }) => texts(vni).sort());
  return {
    vnis,
    devices: devices.sort(),
    peers,
    near: device('vtep100'),
    settings: vnis.map(({ vni }) => vtep.settings(vni)),
    state: store.state,
    entries: await entries(),
  };
}

function codes(): string[] {
  const own = ['reload_failed', 'restart_needed', 'state_overrides'];
  return vtep
    .status()
    .warnings.map(({ code }) => code)
    .filter((code) => own.includes(code))
    .sort();
}

/** VNIs that the state changes. Every VNI also has the MAC of its TAP in the state. */
function changesIn({ vnis }: State): unknown[] {
  return [...vnis].filter(
    ([, { created, removed, changed, peers, fdb }]) =>
      created !== undefined || removed || Object.keys(changed).length + peers.size + fdb.size > 0,
  );
}
