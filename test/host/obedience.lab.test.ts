/**
 * Settings of TAPs and bridges by which this host ignores the overlay, in a real kernel.
 *
 *     [ br-vxlan ]     made by vtepd or by another program
 *        |
 *     vtep100          TAP, the same
 */
import './own-namespace.js';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { loadShim } from '../../src/abi/binding.js';
import { Machine } from '../../src/host/machine.js';
import { acceptsRedirects, obeyed, obeying } from '../../src/host/obedience.js';
import { OverlayDevice, type OverlayDeviceSpec } from '../../src/host/overlay-device.js';

const shim = loadShim();
const TAP = 'vtep100';
const BRIDGE = 'br-vxlan';

const SPEC: OverlayDeviceSpec = {
  vni: 100,
  tap: TAP,
  bridge: '',
  addresses: [],
  mac: '',
  derivedMac: { high: 0xfe11, low: 0x22334455 },
  unbridgedMtu: 1450,
  queues: 1,
  offload: true,
};

/** Settings of a device that vtepd makes. */
const IGNORES = {
  'ipv6 accept_ra': '0',
  'ipv6 autoconf': '0',
  'ipv6 accept_redirects': '0',
  'ipv4 accept_redirects': '0',
  'ipv4 arp_announce': '2',
  'ipv4 arp_ignore': '1',
};

const ip = (line: string) => execFileSync('ip', line.split(' '));

async function open(t: Test, change: Partial<OverlayDeviceSpec> = {}) {
  const machine = await Machine.open(shim);
  const device = await OverlayDevice.open(shim, machine, { ...SPEC, ...change });
  t.teardown(async () => {
    await device.close();
    machine.close();
  });
  return { machine, device };
}

function settingsOf(device: string): Record<string, string> {
  const entries = Object.keys(IGNORES).map((setting) => [setting, valueAt(device, setting)]);
  return Object.fromEntries(entries);
}

function valueAt(device: string, setting: string): string {
  return readFileSync(fileOf(device, setting), 'utf8').trim();
}

function set(device: string, setting: string, value: number): void {
  writeFileSync(fileOf(device, setting), String(value));
}

function fileOf(device: string, setting: string): string {
  const [family, name] = setting.split(' ');
  return `/proc/sys/net/${family}/conf/${device}/${name}`;
}

t.test('a TAP and a bridge that vtepd makes ignore the overlay', async (t) => {
  const { machine } = await open(t, { bridge: BRIDGE });
  for (const name of [TAP, BRIDGE]) {
    t.same(settingsOf(name), IGNORES, name);
    t.same(obeyed(name), []);
    t.equal(machine.get(name).addrGenMode, 'none');
    t.same(machine.addressesOf(machine.get(name).index), [], 'no link-local address');
  }
});

t.test('a TAP ignores the overlay after it left its bridge, and after it was opened again', async (t) => {
  const { machine, device } = await open(t, { bridge: BRIDGE });
  await device.moveTo('', 1450);
  t.same(settingsOf(TAP), IGNORES);
  t.equal(machine.get(TAP).addrGenMode, 'none');
  ip(`link delete ${TAP}`);
  await machine.current();
  const release = await device.reopen(1450, () => undefined);
  await release();
  t.same(settingsOf(TAP), IGNORES);
  t.equal(machine.get(TAP).addrGenMode, 'none');
  t.equal(machine.get(TAP).up, true);
});

t.test('devices of another program keep their settings', async (t) => {
  ip(`tuntap add dev ${TAP} mode tap`);
  ip(`link add ${BRIDGE} type bridge`);
  t.teardown(() => {
    ip(`link delete ${TAP}`);
    ip(`link delete ${BRIDGE}`);
  });
  const before = [TAP, BRIDGE].map(settingsOf);
  t.notSame(before[0], IGNORES);
  await t.test('while they are open', async (t) => {
    await open(t, { bridge: BRIDGE });
    t.same([TAP, BRIDGE].map(settingsOf), before);
  });
  t.same([TAP, BRIDGE].map(settingsOf), before);
});

t.test('settings that are not as wanted are lines for sysctl', async (t) => {
  await open(t);
  set(TAP, 'ipv6 accept_ra', 2);
  set(TAP, 'ipv4 arp_ignore', 0);
  t.same(obeyed(TAP), [`net.ipv6.conf.${TAP}.accept_ra=0`, `net.ipv4.conf.${TAP}.arp_ignore=1`]);
  for (const line of obeyed(TAP)) execFileSync('sysctl', ['-q', '-w', line]);
  t.same(obeyed(TAP), [], 'sysctl accepts the lines');
  t.same(obeyed('missing'), [], 'a device without settings obeys nothing');
});

t.test('a name with a dot gives lines that sysctl accepts', async (t) => {
  await open(t, { tap: 'vtep.100' });
  set('vtep.100', 'ipv6 accept_ra', 1);
  const lines = obeyed('vtep.100');
  t.same(lines, ['net/ipv6/conf/vtep.100/accept_ra=0']);
  execFileSync('sysctl', ['-q', '-w', ...lines]);
  t.same(obeyed('vtep.100'), []);
});

t.test('what a device of another program obeys depends on forwarding and IPv6', async (t) => {
  ip(`link add ${BRIDGE} type bridge`);
  t.teardown(() => ip(`link delete ${BRIDGE}`));
  const line = (name: string) => `net.ipv6.conf.${BRIDGE}.${name}=0`;
  t.same(obeying(BRIDGE), ['accept_ra', 'autoconf', 'accept_redirects'].map(line));
  set(BRIDGE, 'ipv6 forwarding', 1);
  t.same(obeying(BRIDGE), [], 'a router obeys neither');
  set(BRIDGE, 'ipv6 accept_ra', 2);
  t.same(obeying(BRIDGE), ['accept_ra', 'autoconf'].map(line));
  set(BRIDGE, 'ipv6 disable_ipv6', 1);
  t.same(obeying(BRIDGE), [], 'no IPv6');
});

t.test('IPv4 redirects are accepted by all or by the device, on a router by both', async (t) => {
  await open(t);
  set('all', 'ipv4 accept_redirects', 1);
  t.equal(acceptsRedirects(TAP), true);
  set(TAP, 'ipv4 forwarding', 1);
  t.equal(acceptsRedirects(TAP), false, 'a router needs both');
  set(TAP, 'ipv4 forwarding', 0);
  set('all', 'ipv4 accept_redirects', 0);
  t.equal(acceptsRedirects(TAP), false);
});
