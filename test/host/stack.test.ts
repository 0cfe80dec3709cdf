import t from 'tap';
import { tagsOver } from '../../src/host/stack.js';
import { makeLink } from '../support/machine.js';

t.test('the tag count is the depth of the deepest stack of VLAN devices', async (t) => {
  const [TAP, BRIDGE, ETH0] = [3, 4, 5];
  const vlan = (index: number, lower: number) => makeLink({ index, lower, kind: 'vlan' });
  const links = [
    vlan(10, ETH0),
    vlan(11, BRIDGE),
    vlan(12, BRIDGE),
    makeLink({ index: 13, lower: TAP, kind: 'macvlan' }),
  ];
  t.equal(tagsOver(TAP, links), 0, 'other devices add no tag');
  t.equal(tagsOver(BRIDGE, links), 1);
  t.equal(tagsOver(BRIDGE, [...links, vlan(14, 12)]), 2);
});
