import t from 'tap';
import { neighboursOn } from '../../src/paths/neighbours.js';

t.test('neighbours as iproute2 6.1 prints them: those of IPv4 with a MAC, on our devices', async (t) => {
  const raw = [
    { dst: '10.10.10.9', dev: 'br-vxlan', state: ['FAILED'] },
    { dst: '10.10.10.2', dev: 'eth0', lladdr: '02:00:00:00:00:02', state: ['REACHABLE'] },
    { dst: 'fd01::2', dev: 'br-vxlan', lladdr: '02:00:00:00:00:02', state: ['STALE'] },
    {},
    { dst: '10.10.10.3', dev: 'br-vxlan', lladdr: '02:00:00:00:00:03', state: ['STALE'] },
  ];
  t.same(neighboursOn(['vtep100', 'br-vxlan'], raw), [
    { mac: { high: 0x0200, low: 3 }, ip: Uint8Array.of(10, 10, 10, 3) },
  ]);
  t.same(neighboursOn([''], raw), [], 'a TAP without a bridge has no second device');
});
