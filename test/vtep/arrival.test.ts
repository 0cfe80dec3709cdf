/** The list of the overlay's devices follows devices that come, go and are made again. */
import t, { type Test } from 'tap';
import type { Changes, Link, Observer } from '../../src/host/machine.js';
import { Arrival } from '../../src/vtep/arrival.js';
import { makeLink } from '../support/machine.js';
import { eventually } from '../support/wait.js';

const [TAP, BRIDGE, VLAN, UNDERLAY] = [5, 6, 7, 8];

function make(t: Test, underlayDev = '') {
  const links = new Map<number, Link>();
  const add = (...added: Partial<Link>[]) => {
    for (const link of added) links.set(link.index!, makeLink(link));
  };
  add({ index: TAP, name: 'vtep100', master: BRIDGE }, { index: BRIDGE, name: 'br0' });
  const observers = new Set<Observer>();
  const open = { taps: [TAP], bridges: [BRIDGE] };
  const sent: number[][] = [];
  const arrival = new Arrival({
    machine: {
      get links() {
        return links.values();
      },
      scopeId: (name) => [...links.values()].find((link) => link.name === name)?.index ?? 0,
      subscribe: (observer) => {
        observers.add(observer);
        return () => void observers.delete(observer);
      },
    },
    devices: { taps: () => open.taps, bridges: () => open.bridges },
    underlayDev,
  });
  t.teardown(() => arrival.stop());
  const handle = { setOverlayDevices: async (indexes: Int32Array) => void sent.push([...indexes]) };
  const notify = (changes: Partial<Changes> = { links: new Map([[TAP, {} as never]]) }) => {
    for (const observer of observers) observer({ links: new Map(), addresses: false, ...changes });
  };
  return { arrival, handle, links, add, open, sent, notify, observers };
}

t.test('the list is sent at the start, and after changes of devices', async (t) => {
  const { arrival, handle, add, sent, notify } = make(t);
  await arrival.refresh();
  t.same(sent, [], 'nothing before the workers run');
  await arrival.start(handle);
  t.same(sent, [[TAP, BRIDGE]]);
  add({ index: VLAN, name: 'br0.7', lower: BRIDGE });
  notify({});
  notify();
  notify();
  await eventually('a list', () => sent.length === 2);
  t.same(sent[1], [TAP, BRIDGE, VLAN]);
});

t.test('a TAP and a bridge that were made again have another index', async (t) => {
  const { arrival, handle, links, add, open, sent, notify } = make(t);
  await arrival.start(handle);
  links.clear();
  notify();
  await eventually('a list', () => sent.length === 2);
  t.same(sent[1], [], 'devices that do not exist are in no list');
  add({ index: 15, name: 'vtep100' }, { index: 16, name: 'br0' });
  Object.assign(open, { taps: [15], bridges: [16] });
  await arrival.refresh();
  t.same(sent[2], [15, 16]);
});

t.test('changes without a pause do not delay the list', async (t) => {
  const { arrival, handle, add, sent, notify } = make(t);
  await arrival.start(handle);
  add({ index: VLAN, name: 'br0.7', lower: BRIDGE });
  const steady = setInterval(notify, 10);
  t.teardown(() => clearInterval(steady));
  await eventually('a list', () => sent.length > 1);
  t.same(sent[1], [TAP, BRIDGE, VLAN]);
});

t.test('the device of the underlay is in no list, also after it was made again', async (t) => {
  const { arrival, handle, links, add, sent, notify } = make(t, 'br0.7');
  add({ index: VLAN, name: 'br0.7', lower: BRIDGE });
  await arrival.start(handle);
  t.same(sent, [[TAP, BRIDGE]]);
  links.delete(VLAN);
  add({ index: UNDERLAY, name: 'br0.7', lower: BRIDGE });
  notify();
  await eventually('a list', () => sent.length === 2);
  t.same(sent[1], [TAP, BRIDGE]);
});

t.test('after the end nothing is sent', async (t) => {
  const { arrival, handle, sent, notify, observers } = make(t);
  await arrival.start(handle);
  notify();
  arrival.stop();
  t.equal(observers.size, 0);
  await arrival.refresh();
  t.equal(sent.length, 1);
});
