import t from 'tap';
import { routeTo } from '../../src/paths/underlay.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';
import { openMachine } from '../support/machine.js';

t.test('the route to this machine uses the loopback device', async (t) => {
  const machine = await openMachine(t);
  const route = await routeTo(machine, parseIpAddress('127.0.0.1')!);
  const { index, mtu } = machine.get('lo');
  t.strictSame(route, { local: '127.0.0.1', device: 'lo', deviceIndex: index, mtu });
});
