import t from 'tap';
import type { Link } from '../../src/host/machine.js';
import { devicesInto, tagsOver } from '../../src/host/stack.js';

const link = (index: number, kind: string, master = 0, lower = 0) =>
  ({ index, kind, master, lower }) as unknown as Link;
const into = (...links: Link[]) => [...devicesInto([10], links)].sort((a, b) => a - b);

t.test('tags are counted by the deepest stack of VLAN devices', async (t) => {
  const links = [
    link(10, 'tun'),
    link(11, 'vlan', 0, 10),
    link(12, 'vlan', 0, 11),
    link(13, 'macvlan', 0, 10),
  ];
  t.equal(tagsOver(10, links), 2);
  t.equal(tagsOver(13, links), 0);
});

const rows: [string, Link[], number[]][] = [
  ['the TAP', [link(10, 'tun'), link(1, ''), link(2, 'dummy')], [10]],
  ['its bridge', [link(10, 'tun', 20), link(20, 'bridge'), link(21, 'bridge')], [10, 20]],
  [
    'devices stacked on the TAP',
    [link(10, 'tun'), link(11, 'vlan', 0, 10), link(12, 'macvlan', 0, 11)],
    [10, 11, 12],
  ],
  [
    'devices stacked on the bridge, whatever their order',
    [link(12, 'macvlan', 0, 11), link(11, 'vlan', 0, 20), link(20, 'bridge'), link(10, 'tun', 20)],
    [10, 11, 12, 20],
  ],
  ['no port of the bridge', [link(10, 'tun', 20), link(20, 'bridge'), link(30, 'tun', 20)], [10, 20]],
  ['no veth of another pair', [link(10, 'tun'), link(30, 'veth', 0, 31), link(31, 'veth', 0, 30)], [10]],
  [
    'a second bridge over a VLAN of the first',
    [link(10, 'tun', 20), link(20, 'bridge'), link(11, 'vlan', 21, 20), link(21, 'bridge')],
    [10, 11, 20, 21],
  ],
  [
    'no bridge with a network card',
    [link(10, 'tun', 20), link(20, 'bridge'), link(1, '', 20), link(11, 'vlan', 0, 20)],
    [10],
  ],
  ['no VRF', [link(10, 'tun', 40), link(40, 'vrf'), link(11, 'dummy', 40)], [10]],
];

for (const [what, links, expected] of rows)
  t.test(`packets by these devices enter the overlay: ${what}`, async (t) =>
    t.same(into(...links), expected),
  );
