/**
 * VNIs and peers of a running overlay, over a fake data plane and fake devices that record their
 * calls.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { loadShim } from '../../src/abi/binding.js';
import type { PeerSettings, VniSettings } from '../../src/config/settings.js';
import { defaultSettings } from '../../src/config/vni-words.js';
import type { Handle } from '../../src/controller/handle.js';
import { DataPlaneError, type NewPeer } from '../../src/exchange/data-plane.js';
import { Events } from '../../src/exchange/events.js';
import { HostError } from '../../src/host/host-error.js';
import type { Machine } from '../../src/host/machine.js';
import type { OverlayDeviceSpec } from '../../src/host/overlay-device.js';
import type { OverlayDevices } from '../../src/host/overlay-devices.js';
import { silentLogger } from '../../src/log/log.js';
import { PathManager } from '../../src/paths/path-manager.js';
import { Paths } from '../../src/paths/paths.js';
import { Overlay } from '../../src/vtep/overlay.js';
import { Reports } from '../../src/vtep/reports.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';
import { openMachine } from '../support/machine.js';

const peer = (host: string): PeerSettings => ({ host, port: 4789, flood: true });
const vni = (number: number, ...hosts: string[]): VniSettings => ({
  ...defaultSettings(number),
  vni: number,
  peers: hosts.map(peer),
});

/**
 * Fake workers. If `dies` is set, calls fail from the next addition of peers until `abandonVni`.
 */
class Plane {
  readonly rows = new Map<number, NewPeer[]>();
  dies = false;
  #down = false;

  vnis = () => Array.from(this.rows.keys(), (number) => ({ vni: number }));
  peers = (number: number) => this.rows.get(number)!;
  async addVni({ vni: number }: { vni: number }, peers: readonly NewPeer[]) {
    this.#down ||= this.dies && peers.length > 0;
    this.#check();
    this.rows.set(number, [...peers]);
  }
  async removeVni(number: number) {
    this.#check();
    this.rows.delete(number);
  }
  async addPeers(number: number, peers: readonly NewPeer[]) {
    this.#down ||= this.dies && peers.length > 0;
    this.#check();
    this.rows.get(number)!.push(...peers);
  }
  async removePeer(number: number, text: string) {
    this.rows.set(
      number,
      this.peers(number).filter(({ address }) => address.text !== text),
    );
  }
  settling = () => [...this.held];
  assertFree(number: number) {
    if (this.held.some(({ vni: one }) => one === number))
      throw new DataPlaneError('vni_exists', `VNI ${number} is settling`);
  }
  /** Releases the VNI at once. If `stalls` is set, only a call of `resume` releases the VNI. */
  async abandonVni(number: number, release: () => Promise<void>) {
    this.#down = false;
    this.rows.delete(number);
    if (!this.stalls) return release();
    const state = { vni: number, tap: `vtep${number}` };
    this.held.push(state);
    this.resume.push(async () => {
      await release();
      this.held.splice(this.held.indexOf(state), 1);
    });
  }
  /** VNIs that were abandoned and not released. */
  readonly held: { vni: number; tap: string }[] = [];
  /** Functions that release the VNIs of `held`. */
  readonly resume: (() => Promise<void>)[] = [];
  /** True while workers do not answer `abandonVni`. */
  stalls = false;
  async reconcileFdb() {}
  setBridge() {}
  #check() {
    if (this.#down) throw new DataPlaneError('dataplane_down', 'the data plane is being restarted');
  }
}

/** Fake path manager with the methods that the overlay calls. */
const NO_CONSEQUENCES = {
  begin: () => {},
  end: async () => {},
  overlayMtu: () => 1450,
  unbridgedMtu: () => 1450,
  inTurn: (work: () => Promise<void>) => work(),
} as unknown as PathManager;

/** No path is known: every route leaves by a device that does not exist. */
const NO_DEVICES = { link: () => undefined, scopeId: () => 0 } as unknown as Machine;

function make(pathManager = NO_CONSEQUENCES) {
  const zone = new Map<string, string[]>();
  const paths = new Paths({ local: [], underlayDev: '', fwmark: 0 }, NO_DEVICES, async (host) =>
    (zone.get(host) ?? [host]).map((text) => parseIpAddress(text)!),
  );
  const plane = new Plane();
  const taps = new Set<string>();
  const broken = new Set<string>();
  const moved: string[] = [];
  const taken = 'taken';
  const devices = {
    open: async (specs: readonly OverlayDeviceSpec[]) =>
      specs.map(({ tap }) => {
        taps.add(tap);
        if (tap === taken) throw new HostError(`TAP ${taken} is in use`);
        return { name: tap, fds: [], unsteered: 'EPERM', mac: { high: 0x0200, low: 1 } };
      }),
    close: async ([tap]: readonly string[]) => {
      taps.delete(tap);
      if (broken.has(tap)) throw new HostError(`could not clean up: there is no ${tap}`);
    },
    moveTo: async (tap: string, bridge: string) => void moved.push(`${tap} to ${bridge}`),
  };
  const events = new Events();
  const subscription = events.subscribe();
  const reports = new Reports(silentLogger(), new Events());
  const overlay = new Overlay({
    settings: { workers: 1 },
    paths,
    pathManager,
    devices: devices as unknown as OverlayDevices,
    offload: false,
    events,
    log: silentLogger(),
    entries: () => new Map(),
    reports,
    opened: () => {},
    reopened: () => {},
    devicesChanged: async () => {},
  });
  overlay.attach(plane as unknown as Handle);
  const shown = () => plane.peers(1).map(({ name, address }) => [name, address.text]);
  const happened = async () => {
    events.publish({ type: 'lost', count: 0 });
    const types: string[] = [];
    for await (const { event } of subscription) {
      if (event.type === 'lost') break;
      types.push(event.type === 'vni' ? `${event.type} ${event.vni} ${event.action}` : event.type);
    }
    return types;
  };
  return { overlay, zone, plane, taps, broken, moved, taken, reports, shown, happened };
}

t.test('an address that a name loses stays a peer if the address itself is configured', async (t) => {
  const { overlay, zone, shown } = make();
  const name = 'a.example';
  zone.set(name, ['127.0.0.1', '127.0.0.2']);
  await overlay.add([vni(1, name)]);
  const both = vni(1, name, '127.0.0.1');
  await overlay.addPeers(both, [peer('127.0.0.1')]);
  t.same(
    shown(),
    [
      [name, '127.0.0.1'],
      [name, '127.0.0.2'],
    ],
    'an address of two hosts is one peer',
  );
  zone.set(name, ['127.0.0.2']);
  await overlay.follow(both, name, [parseIpAddress('127.0.0.2')!]);
  t.same(shown(), [
    [name, '127.0.0.2'],
    ['', '127.0.0.1'],
  ]);
  zone.set(name, ['127.0.0.1', '127.0.0.2']);
  await overlay.removePeers(vni(1, name), [peer('127.0.0.1')]);
  t.same(
    shown(),
    [
      [name, '127.0.0.2'],
      [name, '127.0.0.1'],
    ],
    'a removed address stays a peer if a name resolves to the address',
  );
});

t.test('if a worker dies while VNIs are added, no VNI is kept and no event is published', async (t) => {
  const { overlay, plane, taps, happened } = make();
  plane.dies = true;
  await t.rejects(overlay.add([vni(1), vni(2, '127.0.0.1')]), { code: 'dataplane_down' });
  t.same([...plane.rows.keys()], []);
  t.same([...taps], []);
  t.same(await happened(), []);
});

t.test('a VNI whose addition times out keeps its device and number until no worker uses it', async (t) => {
  const { overlay, plane, taps } = make();
  plane.dies = true;
  plane.stalls = true;
  await t.rejects(overlay.add([vni(1, '127.0.0.1')]), { code: 'dataplane_down' });
  plane.dies = false;
  t.same([...taps], ['vtep1'], 'the device stays open');
  await t.rejects(overlay.add([vni(1)]), { code: 'vni_exists', message: /settling/ });
  t.same([...taps], ['vtep1'], 'the device is not opened again');
  const restored = overlay.restore(vni(1));
  await nextTurn();
  t.same([...plane.rows.keys()], [], 'the undo of a removal waits until no worker uses the VNI');
  for (const resume of plane.resume) await resume();
  await restored;
  t.same([[...plane.rows.keys()], [...taps]], [[1], ['vtep1']]);
});

t.test('a VNI whose device was removed externally can be removed', async (t) => {
  const { overlay, plane, broken, happened } = make();
  await overlay.add([vni(1)]);
  broken.add('vtep1');
  await overlay.remove(vni(1));
  t.same([...plane.rows.keys()], []);
  t.same(await happened(), ['vni 1 added', 'vni 1 removed']);
});

t.test('warnings about a VNI are withdrawn when it is removed or cannot be added', async (t) => {
  const { overlay, zone, reports, taken } = make();
  zone.set('a.example', ['127.0.0.1']);
  const twice = (number: number) => vni(number, 'a.example', '127.0.0.1');
  const codes = () => reports.list.map(({ code }) => code);
  await overlay.add([twice(1), twice(2)]);
  t.same(codes(), ['peer_duplicate', 'queues_unsteered', 'queues_unsteered']);
  await overlay.remove(twice(1));
  t.same(codes(), ['peer_duplicate', 'queues_unsteered']);
  await overlay.remove(twice(2));
  t.same(codes(), []);
  await t.rejects(overlay.add([twice(1), { ...twice(3), tap: taken }]), { message: 'TAP taken is in use' });
  t.same(codes(), []);
});

t.test('hosts with the same address are one peer, and a warning names the duplicates', async (t) => {
  const { overlay, zone, reports, shown } = make();
  const a = 'a.example';
  const b = 'b.example';
  const address = '127.0.0.1';
  for (const name of [a, b]) zone.set(name, [address]);
  const warned = () =>
    reports.list.filter(({ code }) => code === 'peer_duplicate').map(({ detail }) => detail);
  const also = (host: string, first: string) =>
    `${host} has the same address (${address}) as ${first}: both are one peer`;
  await overlay.add([vni(1, a)]);
  await overlay.addPeers(vni(1, a, address), [peer(address)]);
  t.same(warned(), [also(address, a)], 'a host that is added later is a duplicate');
  await overlay.removePeers(vni(1, a), [peer(address)]);
  t.same(warned(), [], 'the warning is withdrawn when the duplicate is removed');
  await overlay.addPeers(vni(1, a, address, b), [peer(address), peer(b)]);
  t.same(warned(), [also(address, a), also(b, a)]);
  await overlay.removePeers(vni(1, address, b), [peer(a)]);
  t.same(warned(), [also(b, 'another peer')], 'the warning stays when another host becomes the peer');
  t.same(shown(), [['', address]]);
  zone.set(b, ['127.0.0.2']);
  await overlay.follow(vni(1, address, b), b, [parseIpAddress('127.0.0.2')!]);
  t.same(warned(), [], 'the warning is withdrawn when the name gets another address');
});

t.test('a TAP changes its bridge after pending changes of the overlay MTU are applied', async (t) => {
  const machine = await openMachine(t);
  const settings = { local: [], underlayDev: '', fwmark: 0, sourcePorts: { min: 49152, max: 65535 } };
  const pathManager = new PathManager({
    shim: loadShim(),
    machine,
    linkOf: () => undefined,
    held: () => ({ ipv4: false, ipv6: false }),
    settings,
    ttl: 64,
    paths: new Paths(settings, machine),
    log: silentLogger(),
    publish: () => {},
    signs: () => {},
  });
  t.teardown(() => pathManager.stop());
  const { overlay, moved } = make(pathManager);
  await overlay.add([vni(1)]);
  let followed = () => {};
  const following = new Promise<void>((resolve) => {
    followed = resolve;
  });
  pathManager.start({ vnis: () => [], followPaths: () => following } as unknown as Handle);
  const moving = overlay.moveTo({ ...vni(1), bridge: 'br-vxlan' });
  for (let turn = 0; turn < 100; turn++) await nextTurn();
  t.same(moved, []);
  followed();
  await moving;
  t.same(moved, ['vtep1 to br-vxlan']);
});
