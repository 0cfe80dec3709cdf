/**
 * Leftovers of vtepd on the host.
 *
 * After SIGTERM or a failed start nothing is left; after `kill -9` the next vtepd recognises and
 * replaces all leftovers. Devices that existed before stay unchanged.
 *
 *     host  eth0 192.168.80.10 ====== veth ====== eth0 192.168.80.11  other
 */
import t, { type Test } from 'tap';
import { createLab, type Lab } from '../support/lab.js';
import type { Namespace } from '../support/netns.js';
import { ENGINES, vtepdCommand } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

interface Drops {
  decap: Record<string, number>;
}

interface Counts {
  vnis: { tap: { tx: { frames: number } }; drops: Drops }[];
  drops: Drops;
}

const FLAGS = '--vni 100 --peer 192.168.80.11';

for (const engine of ENGINES) {
  t.test(`SIGTERM and SIGINT leave nothing behind (${engine})`, async (t) => {
    const { lab, host } = await oneHost(t);
    const before = await inventory(host);
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const vtepd = await lab.vtepd(
        host,
        `${FLAGS} --bridge br-vxlan --address 10.10.10.1/24 --io ${engine}`,
      );
      // Devices of the shortcuts are left out, because not every kernel supports them.
      const devices = (await host.devices()).filter((name) => !/^vt(gso|flow|lead)/.test(name)).sort();
      t.same(devices, ['br-vxlan', 'eth0', 'vtep100'], 'TAP and bridge exist');
      t.equal(await vtepd.stop(signal), 0, `${signal}: vtepd exits with 0`);
      t.same(await inventory(host), before, `${signal}: the host is unchanged`);
    }
  });

  t.test(`the next start after kill -9 replaces the leftovers (${engine})`, async (t) => {
    const { lab, host } = await oneHost(t);
    const before = await inventory(host);
    const flags = `${FLAGS} --bridge br-vxlan --address 10.10.10.1/24 --io ${engine}`;
    for (let round = 0; round < 2; round++) {
      const killed = await lab.vtepd(host, flags);
      await killed.stop('SIGKILL');
      t.ok((await host.devices()).includes('br-vxlan'), 'the bridge is left over');
    }
    const successor = await lab.vtepd(host, flags);
    t.equal(await successor.stop(), 0);
    t.same(await inventory(host), before, 'neither daemon has left anything');
  });
}

for (const engine of ENGINES)
  t.test(`frames that arrive while vtepd starts are no fault (${engine})`, async (t) => {
    const { lab, host, other } = await oneHost(t);
    await other.ip(`link add vxlan100 type vxlan id 100 remote 192.168.80.10 dstport 4789 dev eth0
      address add 10.10.10.2/24 dev vxlan100
      link set vxlan100 up
      neigh add 10.10.10.1 lladdr 02:00:00:00:00:01 dev vxlan100 nud permanent`);
    lab.keep(other.start('ping -q -i 0.002 10.10.10.1'));
    const flags = `${FLAGS} --address 10.10.10.1/24 --mac 02:00:00:00:00:01 --io ${engine}`;
    for (let start = 0; start < 3; start++) {
      const vtepd = await lab.vtepd(host, flags);
      const { vnis, drops } = await eventually('the flood to arrive', async () => {
        const { body } = await vtepd.get<Counts>('/v1/counters');
        return body.vnis[0].tap.tx.frames > 100 ? body : undefined;
      });
      t.same(
        [drops, vnis[0].drops].flatMap(({ decap }) => Object.entries(decap)).filter(([, count]) => count > 0),
        [],
        'no frame is counted as dropped',
      );
      t.equal(await vtepd.stop(), 0);
    }
  });

t.test('an existing TAP is adopted and left unchanged', async (t) => {
  const { lab, host } = await oneHost(t);
  await host.ip(`tuntap add dev vtep100 mode tap
    link set vtep100 address 02:00:00:00:00:77 mtu 1400 alias mine
    address add 10.10.10.1/24 dev vtep100`);
  const before = await inventory(host);
  const vtepd = await lab.vtepd(host, `${FLAGS} --bridge br-vxlan --address 10.10.10.7/24`);
  const { body } = await vtepd.get<{ mac: string }>('/v1/vnis/100');
  t.equal(body.mac, '02:00:00:00:00:77', 'the MAC of the TAP is kept');
  t.equal(await vtepd.stop(), 0);
  t.same(await inventory(host), before, 'the TAP is unchanged');
});

t.test('an existing bridge is joined and left unchanged', async (t) => {
  const { lab, host } = await oneHost(t);
  await lab.bridge(host);
  await lab.vm(host, 'vm', { address: '10.10.10.9/24' });
  const before = await inventory(host);
  const vtepd = await lab.vtepd(host, `${FLAGS} --bridge br-vxlan`);
  const [tap] = await host.show<{ master: string }>('link show dev vtep100');
  t.equal(tap.master, 'br-vxlan', 'the TAP is a port of the bridge');
  t.equal(await vtepd.stop(), 0);
  t.same(await inventory(host), before, 'the bridge is unchanged');
});

t.test('a bridge created by vtepd stays while it has another port', async (t) => {
  const { lab, host } = await oneHost(t);
  const vtepd = await lab.vtepd(host, `${FLAGS} --bridge br-vxlan`);
  await lab.vm(host, 'vm', { address: '10.10.10.9/24' });
  t.equal(await vtepd.stop(), 0);
  t.same((await host.devices()).sort(), ['br-vxlan', 'eth0', 'to-vm'], 'the VM keeps its bridge');
});

t.test('a failed start prints its reason in one line and leaves nothing', async (t) => {
  const { host } = await oneHost(t);
  const before = await inventory(host);
  const refused = async (flags: string, message: RegExp, code = 1, wrap: string[] = []) => {
    const { code: exit, stderr } = await host.outcome([...wrap, ...vtepdCommand(flags)], { limitMs: 10_000 });
    const lines = stderr.split('\n').filter((line) => line !== '');
    t.equal(exit, code, `${flags}: vtepd exits with ${code}`);
    t.match(lines.at(-1), message, `${flags}: ${lines.at(-1)}`);
    t.equal(
      lines.filter((line) => !line.startsWith('{')).length,
      1,
      `${flags}: the error is one line in addition to the log`,
    );
    t.same(await inventory(host), before, `${flags}: nothing is left`);
  };
  const full = `${FLAGS} --bridge br-vxlan --address 10.10.10.1/24 --api off`;

  await refused('--vni 16777216 --peer 192.168.80.11', /--vni.*16777216.*16777215/, 2);
  await refused('--vni 100 --peer 192.168.80.11 --group 239.1.1.1', /--group/, 2);
  await refused('--peer 192.168.80.11', /--vni/, 2);
  await refused(`${full} --port 0`, /--port/, 2);
  await refused(
    `${FLAGS} --bridge br-vxlan --api unix:/nonexistent/folder/api.sock`,
    /\/nonexistent\/folder/,
  );
  await refused(`${full} --underlay-dev eth7`, /--underlay-dev eth7/);
  await refused(`${full} --tap eth0`, /eth0/);
  await refused(full, /\/dev\/net\/tun/, 1, withoutTun());
});

t.test('the error names the device if kernel vxlan uses the UDP port', async (t) => {
  const { host } = await oneHost(t);
  await host.ip(
    'link add vxlan7 type vxlan id 7 local 192.168.80.10 dstport 4789 dev eth0\nlink set vxlan7 up',
  );
  const before = await inventory(host);
  for (const engine of ENGINES) {
    const flags = `${FLAGS} --bridge br-vxlan --api off --io ${engine}`;
    const { code, stderr } = await host.outcome(vtepdCommand(flags), { limitMs: 10_000 });
    t.equal(code, 1, 'vtepd exits with 1');
    t.match(stderr, /4789.*vxlan7|vxlan7.*4789/, stderr.trim().split('\n').at(-1) ?? '');
    t.same(await inventory(host), before, 'nothing is left');
  }
});

t.test('a second daemon with the same API address fails and leaves nothing', async (t) => {
  const { lab, host } = await oneHost(t);
  const first = await lab.vtepd(host, FLAGS);
  const before = await inventory(host);
  const flags = `--vni 200 --peer 192.168.80.11 --port 4790 --api unix:${first.socket}`;
  const { code, stderr } = await host.outcome(vtepdCommand(flags), { limitMs: 10_000 });
  t.equal(code, 1, 'vtepd exits with 1');
  t.match(stderr, first.socket, 'the error contains the socket');
  t.same(await inventory(host), before, 'the second daemon leaves nothing');
  t.equal((await first.get('/readyz')).status, 200, 'the first daemon continues');
});

/** Prefix that runs a command in a mount namespace in which /dev/net is empty. */
function withoutTun(): string[] {
  return ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh'];
}

async function oneHost(t: Test): Promise<{ lab: Lab; host: Namespace; other: Namespace }> {
  const lab = createLab(t);
  const hosts = await lab.hosts({ host: ['192.168.80.10/24'], other: ['192.168.80.11/24'] });
  return { lab, ...hosts };
}

interface Link {
  ifindex: number;
  ifname: string;
  [detail: string]: unknown;
}

/**
 * Waits until the devices of a host are stable. Returns what vtepd could change: devices, addresses
 * and UDP sockets.
 */
async function inventory(host: Namespace): Promise<unknown> {
  let last = '';
  return eventually('devices to be stable', async () => {
    const links = await host.show<Link>('address show');
    const details = await host.show<Link>('link show');
    const sockets = await host.run('cat /proc/net/udp /proc/net/udp6');
    const now = {
      links: links.map(lasting),
      masters: details.map(({ ifname, master, ifalias }) => ({ ifname, master, ifalias })),
      sockets: sockets.split('\n').filter((line) => /^ *\d+:/.test(line)).length,
    };
    const isStable = JSON.stringify(now) === last;
    last = JSON.stringify(now);
    return isStable ? now : undefined;
  });
}

/**
 * Fields that must stay unchanged. Counters and the operational state are left out, because the
 * kernel updates them asynchronously.
 */
function lasting({ ifindex, ifname, flags, mtu, address, addr_info }: Link): unknown {
  return { ifindex, ifname, flags, mtu, address, addr_info };
}
