/** Neighbours of this machine, from the table of a real kernel. */
import '../host/own-namespace.js';
import t from 'tap';
import { ipv4Neighbours } from '../../src/paths/neighbours.js';
import { ip, openMachine } from '../support/machine.js';

t.test('IPv4 neighbours with a MAC on the given devices are listed', async (t) => {
  const mac = '02:00:00:00:00:02';
  await ip(`link add br-vxlan type bridge
    link set br-vxlan up
    link add eth0 type veth peer name eth1
    link set eth0 up
    neighbour add 10.10.10.2 lladdr ${mac} dev eth0
    neighbour add fd01::2 lladdr ${mac} dev br-vxlan
    neighbour add 10.10.10.9 dev br-vxlan nud failed
    neighbour add 10.10.10.3 lladdr fe:00:80:00:00:03 dev br-vxlan`);
  const machine = await openMachine(t);
  const [bridge, eth0] = ['br-vxlan', 'eth0'].map((name) => machine.get(name).index);
  const third = { mac: { high: 0xfe00, low: 0x80000003 | 0 }, ip: Uint8Array.of(10, 10, 10, 3) };
  t.strictSame(await ipv4Neighbours([bridge]), [third]);
  t.equal((await ipv4Neighbours([bridge, eth0])).length, 2);
  t.strictSame(await ipv4Neighbours([]), []);
  t.strictSame(await ipv4Neighbours([machine.get('lo').index]), []);
});
