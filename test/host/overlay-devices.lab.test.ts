/**
 * Opening several devices at once in a real kernel: all or none, and a bridge shared by two.
 *
 *     vtep100   vtep101   vtep102
 *        |         |_________|
 *     br100          br-both
 */
import './own-namespace.js';
import t from 'tap';
import { loadShim } from '../../src/abi/binding.js';
import { Machine } from '../../src/host/machine.js';
import type { OverlayDeviceSpec } from '../../src/host/overlay-device.js';
import { OverlayDevices } from '../../src/host/overlay-devices.js';
import { ip, ipShow } from '../support/machine.js';

const shim = loadShim();
const machine = await Machine.open(shim);
t.teardown(() => machine.close());

const spec = (vni: number, bridge: string): OverlayDeviceSpec => ({
  vni,
  tap: `vtep${vni}`,
  bridge,
  addresses: [`10.0.${vni}.1/24`],
  mac: '',
  derivedMac: { high: 0xfe11, low: vni },
  unbridgedMtu: 1450,
  queues: 1,
  offload: true,
});

const SPECS = [spec(100, 'br100'), spec(101, 'br-both'), spec(102, 'br-both'), spec(103, '')];

const names = async () => (await ipShow('link show')).map(({ ifname }) => ifname);

t.test('devices are opened in order with their settings, and close leaves nothing behind', async (t) => {
  const before = await names();
  const opened = new OverlayDevices(shim, machine);
  const devices = await opened.open(SPECS);
  t.same(
    devices.map(({ name, mtu, mac }) => [name, mtu, mac.low]),
    [
      ['vtep100', 1500, 100],
      ['vtep101', 1500, 101],
      ['vtep102', 1500, 102],
      ['vtep103', 1450, 103],
    ],
  );
  for (const { tap, bridge, vni, addresses } of SPECS) {
    const [shown] = await ipShow(`link show dev ${tap}`);
    t.match(shown, { ifalias: `vtepd vni ${vni}` });
    const [holder] = await ipShow(`address show dev ${bridge || tap}`);
    const locals = (holder.addr_info as { local: string }[]).map(({ local }) => local);
    t.ok(locals.includes(addresses[0].split('/')[0]), 'the bridge, or a TAP in none, has the address');
    t.ok((shown.flags as string[]).includes('UP'));
    t.equal(shown.master ?? '', bridge);
  }
  await opened.closeAll();
  t.same(await names(), before);
});

t.test('if a device cannot be opened, its error is thrown and no device is left', async (t) => {
  await ip('link add vtep102 type veth peer name far');
  await machine.current();
  const before = await names();
  await t.rejects(new OverlayDevices(shim, machine).open(SPECS), {
    name: 'HostError',
    message: /^vtep102 exists and is a veth device, not a TAP/,
  });
  t.same(await names(), before);
  await ip('link delete dev vtep102');
});

t.test('a bridge that gained another port is not removed', async (t) => {
  const opened = new OverlayDevices(shim, machine);
  await opened.open(SPECS.slice(0, 2));
  await ip(`link add port type veth peer name far
    link set dev port master br100`);
  await opened.closeAll();
  t.ok(machine.find('br100'));
  t.equal(machine.find('br-both'), undefined);
  await ip(`link delete dev port
    link delete dev br100`);
});
