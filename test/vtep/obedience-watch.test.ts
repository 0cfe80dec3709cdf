/** Warnings about devices whose settings cannot be written, and link-local addresses. */
import t, { type Test } from 'tap';
import type { AddedAddresses } from '../../src/host/added-addresses.js';
import type { Address, Changes, Link, Machine, Observer } from '../../src/host/machine.js';
import { silentLogger } from '../../src/log/log.js';
import { ObedienceWatch } from '../../src/vtep/obedience-watch.js';
import { eventually } from '../support/wait.js';

const LINE = 'net.ipv6.conf.vtep100.accept_ra=0';
const LINK_LOCAL = 'fe80::fc11:22ff:fe33:4455/64';

function link(change: Partial<Link> = {}): Link {
  return {
    index: 7,
    name: 'vtep100',
    up: true,
    mtu: 1450,
    master: 0,
    mac: 'fe:11:22:33:44:55',
    addrGenMode: 'none',
    ...change,
  } as Link;
}

const address = (text: string): Address => ({ index: 7, family: 6, text, length: 64 }) as Address;

/** @param obeyed settings that are wrong, by device; the kernel refuses to change them */
function watch(t: Test, obeyed: Record<string, string[]>) {
  const state = { links: [link()], addresses: [] as Address[], made: new Set([7]) };
  const reports = new Map<string, string>();
  const calls: string[] = [];
  let observer: Observer = () => {};
  const machine = {
    link: (index: number) => state.links.find((one) => one.index === index),
    get addresses() {
      return state.addresses.values();
    },
    subscribe: (given: Observer) => {
      observer = given;
      return () => {};
    },
  } as unknown as Machine;
  const own = {
    add: async (_: object, __: number, added: string[]) => void calls.push(`add ${added}`),
    remove: async (_: object, __: number, removed: string[]) => void calls.push(`remove ${removed}`),
  } as unknown as AddedAddresses;
  const watch = new ObedienceWatch({
    machine,
    devices: { made: () => state.made, own },
    report: (name, texts) => (texts ? reports.set(name, texts.cure) : reports.delete(name)),
    log: silentLogger(),
    settings: {
      ignore: async (_, { name }) => void calls.push(`ignore ${name}`),
      obeyed: (name) => obeyed[name] ?? [],
    },
  });
  t.teardown(() => watch.stop());
  return { state, reports, calls, watch, changed: () => observer({} as Changes) };
}

t.test('a device with the right values is neither changed nor reported', async (t) => {
  const { watch: started, reports, calls } = watch(t, {});
  await started.start();
  t.equal(reports.size, 0);
  t.same(calls, []);
});

t.test('a device whose MTU was too small for IPv6 is checked again', async (t) => {
  const wrong: Record<string, string[]> = {};
  const { watch: started, calls, state, changed } = watch(t, wrong);
  await started.start();
  wrong.vtep100 = [LINE];
  state.links = [link({ mtu: 1200 })];
  changed();
  await eventually('the check', () => calls.length === 1);
  state.links = [link({ mtu: 1450 })];
  changed();
  await eventually('the check of the new settings', () => calls.length === 2);
  t.same(calls, ['ignore vtep100', 'ignore vtep100']);
});

t.test('settings that cannot be written are a warning with lines for sysctl', async (t) => {
  const { watch: started, reports, calls, state, changed } = watch(t, { vtep100: [LINE], other: [LINE] });
  await started.start();
  t.match(reports.get('vtep100'), new RegExp(`^sysctl -w ${LINE}; `));
  t.same(calls, ['ignore vtep100'], 'they were tried once more');

  state.links = [link({ name: 'other' })];
  changed();
  await eventually('the warning of the new name', () => reports.has('other'));
  t.same([...reports.keys()], ['other'], 'the warning follows the name');

  state.links = [link({ name: 'other', master: 3 })];
  changed();
  await eventually('no warning about a port', () => reports.size === 0);

  state.links = [link()];
  changed();
  await eventually('the warning again', () => reports.has('vtep100'));
  state.made = new Set();
  changed();
  await eventually('no warning about a removed device', () => reports.size === 0);
});

t.test('a device with an IPv6 address has a link-local address', async (t) => {
  const { watch: started, calls, state, changed } = watch(t, {});
  await started.start();
  state.addresses = [address('fd09::1')];
  changed();
  await eventually('the addition', () => calls.includes(`add ${LINK_LOCAL}`));
  state.addresses = [address('fe80::fc11:22ff:fe33:4455')];
  changed();
  await eventually('the removal', () => calls.includes(`remove ${LINK_LOCAL}`));
  t.equal(calls.length, 2);
});

t.test('a link-local address of another program is left alone', async (t) => {
  const { watch: started, calls, state } = watch(t, {});
  state.addresses = [address('fd09::1'), address('fe80::1')];
  await started.start();
  t.same(calls, []);
});

t.test('neither a port of a bridge nor a device that is down gets a link-local address', async (t) => {
  for (const change of [{ master: 3 }, { up: false }, { addrGenMode: '' }]) {
    const { watch: started, calls, state } = watch(t, {});
    state.links = [link(change)];
    state.addresses = [address('fd09::1')];
    await started.start();
    t.same(calls, [], JSON.stringify(change));
  }
});
