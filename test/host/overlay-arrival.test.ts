/** Devices of the overlay, from stacks of devices. */
import t from 'tap';
import type { Link } from '../../src/host/machine.js';
import { overlayIndexes } from '../../src/host/overlay-arrival.js';
import { makeLink } from '../support/machine.js';

/** A device per line: name, name of the lower device, name of the master; '-' none. */
function stack(text: string): Link[] {
  const rows = text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const indexOf = (name: string) => rows.findIndex(([own]) => own === name) + 1;
  return rows.map(([name, lower, master]) =>
    makeLink({
      index: indexOf(name),
      name,
      lower: indexOf(lower),
      master: indexOf(master),
      kind: name.startsWith('vrf') ? 'vrf' : '',
    }),
  );
}

function named(links: Link[], taps: string[], bridges: string[], underlay?: string): string[] {
  const indexOf = (wanted: string) => links.find(({ name }) => name === wanted)?.index ?? 99;
  const underlayDev = underlay === undefined ? 0 : indexOf(underlay);
  const found = overlayIndexes(links, taps.map(indexOf), bridges.map(indexOf), underlayDev);
  return [...found].map((index) => links[index - 1].name);
}

t.test('TAPs and bridges are of the overlay, ports and other devices are not', async (t) => {
  const links = stack(`lo - -
    eth0 - br0
    eth0.10 eth0 -
    br0 - -
    vtep100 - br0
    vtep200 - -
    veth1 - br0`);
  t.same(named(links, ['vtep100', 'vtep200'], ['br0']), ['br0', 'vtep100', 'vtep200']);
  t.same(named(links, [], []), []);
  t.same(named(links, ['vtep300'], ['br1']), [], 'devices that do not exist');
});

t.test('devices stacked several levels deep are of the overlay', async (t) => {
  const links = stack(`vtep100 - br0
    br0 - -
    br0.30 br0 br1
    br1 - -
    mac0 br1 -
    mac0.7 mac0 bond0
    bond0 - -
    bond0.8 bond0 -
    vtep100.5 vtep100 -
    eth0 - br2
    br2 - -
    br2.30 br2 -`);
  const wanted = ['vtep100', 'br0', 'br0.30', 'br1', 'mac0', 'mac0.7', 'bond0', 'bond0.8', 'vtep100.5'];
  t.same(named(links, ['vtep100'], ['br0']), wanted);
  t.same(named(links, ['vtep100'], []), wanted, 'a bridge that the TAP was put into by others');
});

t.test('the device of the underlay is never of the overlay, nor is what lies on it', async (t) => {
  const links = stack(`vtep100 - br0
    eth0 - br0
    br0 - -
    br0.10 br0 -
    mac0 br0.10 -
    br0.20 br0 -`);
  t.same(named(links, ['vtep100'], ['br0'], 'br0.10'), ['vtep100', 'br0', 'br0.20']);
});

t.test('a cycle ends', async (t) => {
  const links = stack(`vtep100 b -
    a b -
    b a -`);
  t.same(named(links, ['a'], []), ['vtep100', 'a', 'b']);
});

t.test('the VRF of a bridge is not of the overlay, and neither are its other ports', async (t) => {
  const links = stack(`vtep100 - br0
    br0 - vrf0
    vrf0 - -
    eth0 - vrf0
    br0.7 br0 -`);
  t.same(named(links, ['vtep100'], ['br0']), ['vtep100', 'br0', 'br0.7']);
});

t.test('indexes are sorted as numbers', async (t) => {
  const links = [9, 10, 100].map((index) => makeLink({ index }));
  t.same([...overlayIndexes(links, [100, 9], [10])], [9, 10, 100]);
});
