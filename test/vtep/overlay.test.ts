/** VNIs and peers of a running overlay, over a data plane and devices that only note what they are told. */
import t from 'tap';
import type { PeerSettings, VniSettings } from '../../src/config/settings.js';
import { standardSettings } from '../../src/config/vni-words.js';
import { Events } from '../../src/events.js';
import { HostError } from '../../src/host/host-error.js';
import type { OverlayDeviceSpec } from '../../src/host/overlay-device.js';
import type { OverlayDevices } from '../../src/host/overlay-devices.js';
import { Paths } from '../../src/host/paths.js';
import { silentLogger } from '../../src/log.js';
import type { PathCare } from '../../src/path-care.js';
import { Overlay } from '../../src/vtep/overlay.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';
import { DataPlaneError, type NewPeer } from '../../src/worker/data-plane.js';
import type { Handle } from '../../src/worker/handle.js';

const peer = (host: string): PeerSettings => ({ host, port: 4789, flood: true });
const vni = (number: number, ...hosts: string[]): VniSettings => ({
  ...standardSettings(number),
  vni: number,
  peers: hosts.map(peer),
});

/** Workers that die when peers are added, if they are told to, and do nothing until somebody waits for them. */
class Plane {
  readonly rows = new Map<number, NewPeer[]>();
  dies = false;
  #down = false;

  vnis = () => Array.from(this.rows.keys(), (number) => ({ vni: number }));
  peers = (number: number) => this.rows.get(number)!;
  async addVni({ vni: number }: { vni: number }) {
    this.#check();
    this.rows.set(number, []);
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
  async revived() {
    this.#down = false;
  }
  #check() {
    if (this.#down) throw new DataPlaneError('dataplane_down', 'the data plane is being restarted');
  }
}

function make() {
  const zone = new Map<string, string[]>();
  const paths = new Paths({ local: [], underlayDev: '' }, async (host) =>
    (zone.get(host) ?? [host]).map((text) => parseIpAddress(text)!),
  );
  const plane = new Plane();
  const taps = new Set<string>();
  const broken = new Set<string>();
  const devices = {
    open: async (specs: readonly OverlayDeviceSpec[]) =>
      specs.map(({ tap }) => {
        taps.add(tap);
        return { name: tap, fds: [], unsteered: '', mac: { high: 0x0200, low: 1 } };
      }),
    close: async ([tap]: readonly string[]) => {
      taps.delete(tap);
      if (broken.has(tap)) throw new HostError(`could not clean up: there is no ${tap}`);
    },
  };
  const care = { begin: async () => 1450, end: async () => {}, overlayMtu: () => 1450 };
  const events = new Events();
  const told = events.subscribe();
  const overlay = new Overlay({
    settings: { workers: 1 },
    paths,
    care: care as unknown as PathCare,
    devices: devices as unknown as OverlayDevices,
    offload: false,
    events,
    log: silentLogger(),
    entries: () => new Map(),
    warn: () => {},
    opened: () => {},
  });
  overlay.attach(plane as unknown as Handle);
  const shown = () => plane.peers(1).map(({ name, address }) => [name, address.text]);
  const happened = async () => {
    events.publish({ type: 'warning', code: 'end', detail: '' });
    const types: string[] = [];
    for await (const { event } of told) {
      if (event.type === 'warning') break;
      types.push(event.type === 'vni' ? `${event.type} ${event.vni} ${event.action}` : event.type);
    }
    return types;
  };
  return { overlay, zone, plane, taps, broken, shown, happened };
}

t.test('an address that a name loses stays a peer where it was given by itself', async (t) => {
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
    'taken once',
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
    'and the other way round',
  );
});

t.test('a worker dies while VNIs are added: none of them stays, and none is told of', async (t) => {
  const { overlay, plane, taps, happened } = make();
  plane.dies = true;
  await t.rejects(overlay.add([vni(1), vni(2, '127.0.0.1')]), { code: 'dataplane_down' });
  t.same([...plane.rows.keys()], []);
  t.same([...taps], []);
  t.same(await happened(), []);
});

t.test('a VNI whose device somebody else has removed goes all the same', async (t) => {
  const { overlay, plane, broken, happened } = make();
  await overlay.add([vni(1)]);
  broken.add('vtep1');
  await overlay.remove(vni(1));
  t.same([...plane.rows.keys()], []);
  t.same(await happened(), ['vni 1 added', 'vni 1 removed']);
});
