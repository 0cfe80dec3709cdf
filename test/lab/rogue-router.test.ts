/**
 * This host ignores machines of the overlay that pose as a router, on devices that vtepd makes.
 *
 *     near  vtepd: TAP, with or without br-vxlan  eth0 ═══ eth0  vxlan100 ─ br-vxlan  far
 *            └ br-vxlan ─ vm101
 *
 * Router advertisements and redirects are sent by vm101 and from the bridge of the far host. A
 * device of another program is the control: it obeys them, so the frames are valid.
 */
import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { createLab, type Lab } from '../support/lab.js';
import type { Namespace } from '../support/netns.js';
import { compileTool } from '../support/plain-user.js';
import {
  ipv4Redirect,
  ipv6Redirect,
  PREFIX,
  ROGUE_IPV6,
  ROGUE_MAC,
  received6,
  redirects4,
  routerAdvertisement,
} from '../support/rogue-router.js';
import { assertPing } from '../support/traffic.js';
import { FAR, NEAR } from '../support/two-hosts.js';
import type { Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const BRIDGE = 'br-vxlan';
const TAP = 'vtep100';
const FLAGS = `--vni 100 --peer ${FAR}`;
const ADVERTISEMENT = 134;
const REDIRECT = 137;

interface Site {
  lab: Lab;
  near: Namespace;
  far: Namespace;
  /** Sends a frame from a device. */
  send: (from: Namespace, device: string, frame: Uint8Array) => Promise<void>;
}

t.test('router advertisements by a bridge that vtepd made', async (t) => {
  const { lab, near, far, send } = await site(t);
  const vtepd = await lab.vtepd(near, `${FLAGS} --bridge ${BRIDGE}`);
  await assertIgnores(t, near, BRIDGE, () => send(far, BRIDGE, routerAdvertisement()));

  const vm101 = await lab.vm(near, 'vm101', { address: '10.10.10.101/24' });
  await assertIgnores(t, near, BRIDGE, () => send(vm101, 'eth0', routerAdvertisement()));

  t.comment('the bridge is made again after it was deleted');
  const before = await indexOf(near, BRIDGE);
  await near.ip(`link delete ${BRIDGE}`);
  await eventually('another bridge with the TAP', async () => {
    const tap = await near.show<{ master?: string }>(`link show dev ${TAP}`);
    return tap[0].master === BRIDGE && (await indexOf(near, BRIDGE)) !== before;
  });
  await assertIgnores(t, near, BRIDGE, () => send(far, BRIDGE, routerAdvertisement()));

  t.comment('another bridge, by a change');
  t.equal((await vtepd.call('PATCH', '/v1/vnis/100', { bridge: 'br-two' })).status, 200);
  await assertIgnores(t, near, 'br-two', () => send(far, BRIDGE, routerAdvertisement()));

  t.comment('no bridge, by a change');
  t.equal((await vtepd.call('PATCH', '/v1/vnis/100', { bridge: null })).status, 200);
  await assertIgnores(t, near, TAP, () => send(far, BRIDGE, routerAdvertisement()));
  t.notMatch((await vtepd.ctl('doctor')).stdout, /obey/, 'the doctor has nothing to say');
});

t.test('router advertisements by a TAP in no bridge, also after it was deleted', async (t) => {
  const { lab, near, far, send } = await site(t);
  await lab.vtepd(near, FLAGS);
  await assertIgnores(t, near, TAP, () => send(far, BRIDGE, routerAdvertisement()));
  const before = await indexOf(near, TAP);
  await near.ip(`link delete ${TAP}`);
  await eventually('another TAP that is up', async () => {
    const [tap] = await near
      .show<{ ifindex: number; flags: string[] }>('link show')
      .then((links) => links.filter((link) => (link as { ifname?: string }).ifname === TAP));
    return tap !== undefined && tap.ifindex !== before && tap.flags.includes('UP');
  });
  await assertIgnores(t, near, TAP, () => send(far, BRIDGE, routerAdvertisement()));
});

t.test('devices of another program are left as they are, and the doctor says so', async (t) => {
  for (const kind of ['bridge', 'TAP']) {
    const { lab, near, far, send } = await site(t);
    const device = kind === 'bridge' ? BRIDGE : TAP;
    if (kind === 'bridge') await lab.bridge(near);
    else await near.run(`ip tuntap add dev ${TAP} mode tap`);
    const vtepd = await lab.vtepd(near, kind === 'bridge' ? `${FLAGS} --bridge ${BRIDGE}` : FLAGS);
    await send(far, BRIDGE, routerAdvertisement());
    await eventually(`the ${kind} to obey`, async () => (await defaultRoutes(near)).includes(device));
    t.match(await addresses6(near, device), PREFIX);

    const { stdout, code } = await vtepd.ctl('doctor');
    const line = `sysctl -w net.ipv6.conf.${device}.accept_ra=0 net.ipv6.conf.${device}.autoconf=0`;
    t.match(stdout, new RegExp(`^notice device_obeys_overlay: ${device}, .*; ${line}`, 'm'));
    t.equal(code, 0, 'a notice is no problem');
    const cure = /sysctl -w .*/.exec(/^notice device_obeys.*/m.exec(stdout)![0])![0];
    await near.run(cure.replace('-w', '-q -w').split(' '));
    t.notMatch((await vtepd.ctl('doctor')).stdout, /device_obeys_overlay/, 'the cure works');
  }
});

t.test('redirects', async (t) => {
  for (const isOurs of [true, false]) {
    const { lab, near, far, send } = await site(t);
    if (!isOurs) await lab.bridge(near);
    const flags = `${FLAGS} --bridge ${BRIDGE} --address 10.9.0.1/24 --address fd09::1/64`;
    const vtepd = await lab.vtepd(near, flags);
    await near.ip(`neigh replace 10.9.0.66 lladdr ${ROGUE_MAC} dev ${BRIDGE}
      neigh replace 10.9.0.77 lladdr 02:77:77:77:77:77 dev ${BRIDGE}
      neigh replace ${ROGUE_IPV6} lladdr ${ROGUE_MAC} dev ${BRIDGE}
      route add 198.51.100.0/24 via 10.9.0.66
      route add 2001:db8:66::/48 via ${ROGUE_IPV6} dev ${BRIDGE}`);
    const mac = await macOf(near, BRIDGE);

    t.comment(`IPv6, a bridge ${isOurs ? 'that vtepd made' : 'of another program'}`);
    await eventually('a usable link-local address', async () =>
      /fe80::(?!.*tentative)/.test(await addresses6(near, BRIDGE)),
    );
    await arrives(
      () => received6(near, BRIDGE, REDIRECT),
      () => send(far, BRIDGE, ipv6Redirect(mac)),
    );
    const hop6 = await near.run('ip -6 route get 2001:db8:66::1');
    t.match(hop6, isOurs ? /via fe80::66 / : /via fe80::77 /, 'next hop');

    t.comment('IPv4');
    await setRedirects(near, 1);
    const doctor = await vtepd.ctl('doctor');
    t.match(
      doctor.stdout,
      /^notice redirects_accepted: .*; sysctl -w net.ipv4.conf.all.accept_redirects=0$/m,
    );
    t.equal(doctor.code, 0, 'a notice is no problem');
    await setRedirects(near, 0);
    await arrives(
      () => redirects4(near),
      () => send(far, BRIDGE, ipv4Redirect(mac)),
    );
    t.match(await near.run('ip route get 198.51.100.1'), isOurs ? /via 10.9.0.66 / : /via 10.9.0.77 /);
    t.equal(/redirects_accepted/.test((await vtepd.ctl('doctor')).stdout), false);
    if (!isOurs) continue;
    await setRedirects(near, 1);
    await arrives(
      () => redirects4(near),
      () => send(far, BRIDGE, ipv4Redirect(mac)),
    );
    t.match(await near.run('ip route get 198.51.100.1'), /via 10.9.0.77 /, 'all=1 overrides the device');
  }
});

t.test('the nftables lines of SECURITY.md close this host to machines of the overlay', async (t) => {
  const { lab, near, far } = await site(t);
  const port = '9100';
  const flags = `--bridge ${BRIDGE} --address 10.9.0.1/24 --address fd09::1/64 --metrics 0.0.0.0:${port}`;
  const vtepd = await lab.vtepd(near, `${FLAGS} ${flags}`);
  await far.ip(`address add 10.9.0.2/24 dev ${BRIDGE}
    address add fd09::2/64 dev ${BRIDGE} nodad
    route add 192.0.2.1 via 10.9.0.1`);
  await near.ip('address add 192.0.2.1/32 dev lo');
  await near.run('sysctl -q -w net.ipv4.ip_forward=1');
  const closed = ['10.9.0.1', '192.0.2.1'].map((host) => `http://${host}:${port}/healthz`);
  const fetch = (url: string) => far.outcome(`curl --silent --fail --max-time 2 ${url}`);
  for (const url of closed) t.equal((await fetch(url)).code, 0, `${url} is reached without the lines`);

  const text = readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8');
  const lines = /^ {4}table inet vtepd_guests \{\n[\s\S]*?^ {4}\}\n/m.exec(text)![0];
  await near.run('nft -f -', { input: lines });
  for (const url of closed) t.not((await fetch(url)).code, 0, `${url} is closed`);
  await assertPing(t, near, '10.9.0.2');
  await assertPing(t, near, 'fd09::2');
  t.notMatch((await vtepd.ctl('doctor')).stdout, /^firewall/m, 'the lines do not drop VXLAN');
  const tracked = await near.outcome('cat /proc/net/nf_conntrack');
  t.notMatch(tracked.stdout, /dport=4789/, 'VXLAN is not tracked');
});

t.test('an IPv6 address that is added by hand works, with a link-local address', async (t) => {
  const { lab, near, far } = await site(t);
  await far.run(`ip link delete vxlan100`);
  const daemons: Vtepd[] = [await lab.vtepd(near, FLAGS), await lab.vtepd(far, `--vni 100 --peer ${NEAR}`)];
  for (const host of [near, far]) t.equal(await addresses6(host, TAP), '', 'no address before');
  await near.ip(`address add fd09::1/64 dev ${TAP}`);
  await far.ip(`address add fd09::2/64 dev ${TAP}`);
  for (const host of [near, far])
    await eventually(`a usable link-local address of ${host.label}`, async () =>
      /fe80::(?!.*tentative)/.test(await addresses6(host, TAP)),
    );
  await assertPing(t, near, 'fd09::2');
  await assertPing(t, far, 'fd09::1');
  const mac = await macOf(far, TAP);
  const [linkLocal] = /fe80::[0-9a-f:]+/.exec(await addresses6(far, TAP))!;
  t.match(linkLocal, mac.slice(-2), 'it is made of the MAC');
  await assertPing(t, near, `${linkLocal}%${TAP}`);

  await near.ip(`address del fd09::1/64 dev ${TAP}`);
  await eventually('no link-local address without another', async () => (await addresses6(near, TAP)) === '');
  t.equal(daemons.length, 2);
});

async function site(t: Test): Promise<Site> {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  for (const host of [near, far]) await host.run('sysctl -q -w net.ipv6.conf.default.disable_ipv6=0');
  await lab.bridge(far);
  await lab.kernelVtep(far, { vni: 100, local: FAR, remotes: [NEAR] });
  const program = await compileTool(lab.dir, 'raw-frame');
  const send = async (from: Namespace, device: string, frame: Uint8Array): Promise<void> => {
    await from.run([program, device, '1', Buffer.from(frame).toString('hex')]);
  };
  return { lab, near, far, send };
}

/** Asserts that advertisements reach the device, and that this host gets neither route nor address. */
async function assertIgnores(
  t: Test,
  host: Namespace,
  device: string,
  send: () => Promise<void>,
): Promise<void> {
  await arrives(() => received6(host, device, ADVERTISEMENT), send);
  t.equal(await defaultRoutes(host), '', `no default route by ${device}`);
  t.equal(await addresses6(host, device), '', `no address on ${device}`);
}

/** Sends until the kernel has counted one more. */
async function arrives(count: () => Promise<number>, send: () => Promise<void>): Promise<void> {
  const before = await count();
  await eventually('the frame to arrive', async () => {
    await send();
    return (await count()) > before;
  });
}

function defaultRoutes(host: Namespace): Promise<string> {
  return host.run('ip -6 route show default');
}

/** IPv6 addresses of a device, one in each line. */
async function addresses6(host: Namespace, device: string): Promise<string> {
  const { stdout } = await host.outcome(`ip -6 -oneline address show dev ${device}`);
  return stdout;
}

async function setRedirects(host: Namespace, value: 0 | 1): Promise<void> {
  await host.run(`sysctl -q -w net.ipv4.conf.all.accept_redirects=${value}`);
  await host.run('ip route flush cache');
}

async function macOf(host: Namespace, device: string): Promise<string> {
  return (await host.show<{ address: string }>(`link show dev ${device}`))[0].address;
}

async function indexOf(host: Namespace, device: string): Promise<number> {
  const links = await host.show<{ ifname: string; ifindex: number }>('link show');
  return links.find(({ ifname }) => ifname === device)?.ifindex ?? 0;
}
