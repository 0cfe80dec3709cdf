/**
 * The tables of devices and addresses, compared with a real kernel.
 *
 *     [ br0 ]── eth0 ═══ veth ═══ eth1        each test makes what it needs and removes it
 */
import './own-namespace.js';
import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { ERRNO } from '../../src/abi/errno.js';
import type { Address, Changes, Machine } from '../../src/host/machine.js';
import { addAddress, deleteAddress, dumpAddresses } from '../../src/host/netlink/addresses.js';
import { addLink, deleteLink, dumpLinks, setLink, setPort } from '../../src/host/netlink/links.js';
import { run, start } from '../support/command.js';
import { ip, openMachine } from '../support/machine.js';
import { eventually } from '../support/wait.js';

const shim = loadShim();
const IFLA_BRPORT_ISOLATED = 33;

const VETH = 'link add eth0 type veth peer name eth1';

/** Removes all devices but lo. */
async function clear(): Promise<void> {
  for (const { name, kind } of await dumpLinks())
    if (kind === 'veth' || kind === 'bridge' || kind === 'vlan' || kind === 'vxlan')
      await ip(`link delete dev ${name}`).catch(() => undefined);
}

t.afterEach(clear);

/** Records the reports of a machine. */
function reportsOf(machine: Machine): Changes[] {
  const reports: Changes[] = [];
  machine.subscribe((changes) => reports.push(changes));
  return reports;
}

/** Asserts that the tables equal a fresh list. */
async function assertSame(t: Test, machine: Machine, what: string): Promise<void> {
  await machine.current();
  const byIndex = (a: { index: number }, b: { index: number }) => a.index - b.index;
  t.same([...machine.links].sort(byIndex), (await dumpLinks()).sort(byIndex), what);
  const text = (address: Address) => JSON.stringify({ ...address });
  t.same(Array.from(machine.addresses, text).sort(), (await dumpAddresses()).map(text).sort(), what);
}

t.test('a device comes, is renamed, set up and down, and goes', async (t) => {
  const machine = await openMachine(t);
  const reports = reportsOf(machine);
  await ip(VETH);
  await eventually('the report', () => machine.find('eth0'));
  const { index } = machine.get('eth0');
  t.match(machine.link(index), { name: 'eth0', kind: 'veth', up: false, mtu: 1500, addrGenMode: 'eui64' });
  t.equal(machine.nameOf(index), 'eth0');
  const [first] = reports.flatMap(({ links }) => links.get(index) ?? []);
  t.match(first, { before: undefined, after: { index }, isMoved: false }, 'it is new');
  await ip('link set eth0 name wan.5é');
  await machine.current();
  t.equal(machine.find('eth0'), undefined);
  t.equal(machine.get('wan.5é').index, index, 'a name may have unusual characters');
  await ip('link set wan.5é name eth0');
  await ip('link set eth0 up mtu 1400 address 02:00:00:00:00:07');
  await machine.current();
  t.match(machine.link(index), { up: true, mtu: 1400, mac: '02:00:00:00:00:07' });
  await assertSame(t, machine, 'after changes');
  await ip('link set eth0 down');
  await machine.current();
  t.match(machine.link(index), { up: false });
  reports.length = 0;
  await ip('link delete dev eth0');
  await machine.current();
  t.equal(machine.link(index), undefined);
  t.throws(() => machine.get('eth0'), { message: 'network device eth0 does not exist' });
  const gone = reports.map(({ links }) => links.get(index)).find((change) => change !== undefined);
  t.match(gone, { before: { name: 'eth0' }, after: undefined, isMoved: false });
  await assertSame(t, machine, 'after the deletion');
});

t.test('a device joins a bridge, its options change, and it leaves', async (t) => {
  await ip(`${VETH}\n link add br0 type bridge\n link set br0 up\n link set eth0 up`);
  const machine = await openMachine(t);
  const { index } = machine.get('eth0');
  await ip('link set eth0 master br0');
  await machine.current();
  const bridge = machine.get('br0').index;
  t.equal(machine.link(index)?.master, bridge);
  t.same(
    machine.portsOf(bridge).map(({ name }) => name),
    ['eth0'],
  );
  const isolated = () => machine.link(index)?.port?.get(IFLA_BRPORT_ISOLATED)?.[0];
  t.equal(isolated(), 0);
  const reports = reportsOf(machine);
  await run('bridge link set dev eth0 isolated on');
  await machine.current();
  t.equal(isolated(), 1);
  t.ok(reports.some(({ links }) => links.has(index)));
  const kept = machine.link(index)!.port!;
  await assertSame(t, machine, 'in the bridge');
  await ip('link set eth0 nomaster');
  await machine.current();
  t.match(machine.link(index), { master: 0, port: undefined });
  t.same(machine.portsOf(bridge), []);
  await machine.change(setLink('join', index, { master: bridge }));
  t.equal(isolated(), 0);
  await machine.change(setPort('set the options', index, kept));
  t.equal(isolated(), 1, 'the options can be set again as they were');
  t.same(machine.link(index)!.port, kept);
  await assertSame(t, machine, 'in the bridge again');
});

t.test('the kernel reports no change of some properties of a device that is down', async (t) => {
  await ip(`${VETH}\n link add br0 type bridge`);
  const machine = await openMachine(t);
  const [index, bridge] = [machine.get('eth0').index, machine.get('br0').index];
  await machine.change(setLink('set alias', index, { alias: 'one', addrGenMode: 'none' }));
  t.match(machine.link(index), { alias: 'one', addrGenMode: 'none' }, 'a change of our own is read again');
  await ip('link set eth0 alias two');
  t.match(await machine.reread(index), { alias: 'two' });
  t.equal(machine.link(index)?.alias, 'two');
  await machine.change(
    setLink('join', index, { master: bridge }),
    setPort('isolate', index, new Map([[IFLA_BRPORT_ISOLATED, Uint8Array.of(1)]])),
  );
  t.equal(machine.link(index)?.port?.get(IFLA_BRPORT_ISOLATED)?.[0], 1);
  await assertSame(t, machine, 'all of it is read again');
  t.equal(await machine.reread(9999), undefined);
});

t.test('a device moves to another namespace, or is deleted', async (t) => {
  await ip(`link add vx0 type vxlan id 7 dstport 4799 local 127.0.0.1
    link add br0 type bridge`);
  const machine = await openMachine(t);
  const other = start('unshare --net sleep infinity');
  t.teardown(() => other.stop('SIGKILL'));
  const { index } = machine.get('vx0');
  const reports = reportsOf(machine);
  await eventually('the other namespace', async () => {
    await ip(`link set vx0 netns ${other.pid}`);
    await machine.current();
    return machine.link(index) === undefined;
  });
  const moved = reports.map(({ links }) => links.get(index)).find((change) => change?.after === undefined);
  t.match(moved, { before: { name: 'vx0' }, after: undefined, isMoved: true });
  const bridge = machine.get('br0').index;
  reports.length = 0;
  await machine.change(deleteLink(machine.get('br0')));
  const [deleted] = reports.flatMap(({ links }) => links.get(bridge) ?? []);
  t.match(deleted, { before: { name: 'br0' }, after: undefined, isMoved: false });
  await assertSame(t, machine, 'afterwards');
});

t.test('addresses come and go, and change their states', async (t) => {
  await ip(`${VETH}\n link set eth0 up\n link set eth1 up`);
  const machine = await openMachine(t);
  const { index } = machine.get('eth0');
  const reports = reportsOf(machine);
  const find = (text: string) => [...machine.addresses].find((address) => address.text === text);
  await machine.change(addAddress('192.0.2.1/24', index, 'eth0'), addAddress('fd01::1/64', index, 'eth0'));
  t.match(find('192.0.2.1'), { index, family: 4, length: 24, usable: true, protocol: 0 });
  t.match(find('fd01::1'), { index, family: 6, length: 64, usable: false }, 'it is tentative at first');
  t.ok(machine.addressesOf(index).includes('192.0.2.1/24'));
  t.ok(reports.at(-1)?.addresses);
  await eventually('duplicate address detection', () => find('fd01::1')?.usable);
  t.match(
    [...machine.addresses].find(({ text }) => text.startsWith('fe80')),
    { protocol: 3 },
    'the kernel generated the link-local address',
  );
  writeFileSync('/proc/sys/net/ipv6/conf/eth0/use_tempaddr', '2');
  await ip('address add fd02::1/64 dev eth0 mngtmpaddr nodad');
  await eventually('a temporary address', async () => {
    await machine.current();
    return [...machine.addresses].find(({ text, temporary }) => temporary && text.startsWith('fd02:'));
  });
  await assertSame(t, machine, 'with a temporary address');
  reports.length = 0;
  await machine.change(addAddress('192.0.2.1/24', index, 'eth0'));
  t.same(
    reports.filter(({ addresses }) => addresses),
    [],
    'an address that is confirmed has not changed',
  );
  await machine.change(deleteAddress('192.0.2.1/24', index, 'eth0'));
  t.equal(find('192.0.2.1'), undefined);
  t.ok(reports.at(-1)?.addresses);
  await ip('link delete dev eth0');
  await assertSame(t, machine, 'without the device');
  t.same(machine.addressesOf(index), []);
});

t.test('a change is in the tables when it returns, and a refusal has the words of the kernel', async (t) => {
  const machine = await openMachine(t);
  await machine.change(addLink('bridge', { name: 'br0', mac: 'fe:00:00:00:00:01', mtu: 1400 }));
  const { index } = machine.get('br0');
  t.match(machine.link(index), { kind: 'bridge', mac: 'fe:00:00:00:00:01', mtu: 1400 });
  await machine.change(setLink('set up br0', index, { up: true, alias: 'é "x"\n' }));
  t.match(machine.link(index), { up: true, alias: 'é "x"\n' });
  await t.rejects(machine.change(setLink('configure br0', index, { mtu: 70_000 })), {
    message: /^cannot configure br0 \(MTU 70000\): .*\(EINVAL\): mtu greater than device maximum$/,
  });
  await t.rejects(machine.change(setLink('configure br0', index, { mac: '01:00:00:00:00:01' })), {
    message: /^cannot configure br0 \(MAC 01:00:00:00:00:01\): .*\(EADDRNOTAVAIL\)/,
  });
  await t.rejects(machine.change(addLink('nosuchkind', { name: 'x0' })), {
    message:
      /^cannot create the nosuchkind device x0: operation not supported \(EOPNOTSUPP\): Unknown device type$/,
  });
  await t.rejects(machine.change(addLink('bridge', { name: 'br0' })), { message: /\(EEXIST\)/ });
  await t.rejects(machine.change(setLink('rename br0', index, { name: 'a/b' })), { message: /\(EINVAL\)/ });
  await t.rejects(
    machine.change(
      setLink('set down nothing', 9999, { up: false }),
      setLink('set down br0', index, { up: false }),
    ),
    { message: /^cannot set down nothing: .*\(ENODEV\)/ },
  );
  t.equal(machine.link(index)?.up, false, 'later changes are made all the same');
  writeFileSync('/proc/sys/net/ipv6/conf/br0/disable_ipv6', '1');
  await t.rejects(machine.change(addAddress('fd01::1/64', index, 'br0')), {
    message:
      'cannot add the address fd01::1/64 to br0: permission denied (EACCES): ipv6: IPv6 is disabled on this device',
  });
  await assertSame(t, machine, 'after refusals');
});

t.test('kinds of devices and their lower devices', async (t) => {
  await ip(`${VETH}
    link add vx0 type vxlan id 7 dstport 4799 local 127.0.0.1
    tuntap add dev tun0 mode tun`);
  const machine = await openMachine(t);
  t.match(machine.get('eth0'), { kind: 'veth', lower: 0 }, 'the far end of a veth is no lower device');
  t.match(machine.get('vx0'), { kind: 'vxlan', vxlanPort: 4799, lower: 0 });
  t.match(machine.get('tun0'), { mac: '', tun: { isTap: false, isMultiQueue: false } });
  t.match(machine.get('lo'), { kind: '', tun: undefined });
  await ip('link delete dev tun0');
});

/** A shim whose reader can be paused, and which counts reads. */
function pausable() {
  let [isPaused, lost] = [false, 0];
  const paused: Shim = {
    ...shim,
    netlinkReceive: (fd, buffer) => {
      if (isPaused) return -ERRNO.EAGAIN;
      const got = shim.netlinkReceive(fd, buffer);
      if (got === -ERRNO.ENOBUFS) lost++;
      return got;
    },
    pollStart: () => ({}),
    pollStop: () => {},
  };
  return {
    shim: paused,
    lost: () => lost,
    pause: (pause: boolean) => {
      isPaused = pause;
    },
  };
}

t.test('after notifications were lost, the tables are those of the kernel', async (t) => {
  const reader = pausable();
  await ip(`${VETH}\n link set eth0 up\n link set eth1 up\n link add gone0 type veth peer name gone1`);
  const machine = await openMachine(t, reader.shim);
  const [eth0, gone] = [machine.get('eth0').index, machine.get('gone0').index];
  const reports = reportsOf(machine);
  reader.pause(true);
  await ip('link delete dev gone0');
  const churn = Array.from({ length: 9000 }, (_, i) => {
    const address = `10.${(i >> 8) & 255}.${i & 255}.1/32`;
    return `address add ${address} dev eth0${i % 3 === 0 ? `\n address del ${address} dev eth0` : ''}`;
  });
  await ip(churn.join('\n'));
  await ip('link set eth0 mtu 1300');
  t.equal(machine.link(eth0)?.mtu, 1500, 'the reader is paused');
  reader.pause(false);
  await machine.current();
  t.ok(reader.lost() >= 1, 'the kernel has discarded notifications');
  await assertSame(t, machine, 'after the loss');
  t.equal(machine.addressesOf(eth0).filter((text) => text.startsWith('10.')).length, 6000);
  const seen = reports.flatMap(({ links }) => links.get(gone) ?? []);
  t.equal(seen.length, 1, 'the deletion is reported once');
  t.match(seen[0], { before: { name: 'gone0' }, after: undefined, isMoved: false });
  const mtus = reports.flatMap(({ links }) => links.get(eth0) ?? []);
  t.match([mtus[0].before?.mtu, mtus.at(-1)?.after?.mtu], [1500, 1300]);
  reports.length = 0;
  await machine.current();
  t.same(reports, [], 'nothing is reported again');
});

t.test('a lost notification that is the only change', async (t) => {
  await ip(VETH);
  let lose = false;
  const machine = await openMachine(t, {
    ...shim,
    netlinkReceive: (fd, buffer) => {
      const got = shim.netlinkReceive(fd, buffer);
      if (!lose || got < 0) return got;
      lose = false;
      return -ERRNO.ENOBUFS;
    },
  });
  const reports = reportsOf(machine);
  const { index } = machine.get('eth0');
  lose = true;
  await ip('link set eth0 mtu 1300');
  await eventually('the report', () => reports.length > 0);
  t.match(reports[0].links.get(index), { before: { mtu: 1500 }, after: { mtu: 1300 } });
  await assertSame(t, machine, 'after the loss');
  t.equal(reports.length, 1);
});

t.test('a listing that fails after a loss is reported, and the next loss lists again', async (t) => {
  await ip(VETH);
  const errors: string[] = [];
  let lose = false;
  const machine = await openMachine(
    t,
    {
      ...shim,
      netlinkReceive: (fd, buffer) => {
        const got = shim.netlinkReceive(fd, buffer);
        if (!lose || got < 0) return got;
        lose = false;
        return -ERRNO.ENOBUFS;
      },
    },
    ({ message }) => errors.push(message),
  );
  const real = shim.netlinkRequest;
  const scripted = shim as { netlinkRequest: Shim['netlinkRequest'] };
  scripted.netlinkRequest = async () => -ERRNO.ENOMEM;
  lose = true;
  await ip('link set eth0 mtu 1300');
  await eventually('the error', () => errors.length > 0);
  scripted.netlinkRequest = real;
  t.match(errors, [/^cannot list network devices: .*\(ENOMEM\)$/]);
  t.equal(machine.get('eth0').mtu, 1500, 'the tables are as before');
  await eventually('another attempt', () => machine.get('eth0').mtu === 1300);
  await assertSame(t, machine, 'after the next listing');
});

t.test('a closed machine reports nothing, and closes its descriptor', async (t) => {
  const closed: number[] = [];
  const opened: number[] = [];
  const machine = await openMachine(t, {
    ...shim,
    netlinkOpen: (protocol, groups) => {
      const fd = shim.netlinkOpen(protocol, groups);
      opened.push(fd);
      return fd;
    },
    close: (fd) => {
      closed.push(fd);
      return shim.close(fd);
    },
  });
  const reports = reportsOf(machine);
  machine.close();
  machine.close();
  await ip(VETH);
  await machine.current();
  t.same(reports, []);
  t.same(closed, opened);
});

t.test('an end of a subscription, and a refused subscription', async (t) => {
  const machine = await openMachine(t);
  const reports: Changes[] = [];
  const end = machine.subscribe((changes) => reports.push(changes));
  end();
  await ip(VETH);
  await machine.current();
  t.ok(machine.find('eth0'));
  t.same(reports, []);
  await t.rejects(openMachine(t, { ...shim, netlinkOpen: () => -ERRNO.EMFILE }), {
    message: 'cannot subscribe to changes of network devices (EMFILE)',
  });
});
