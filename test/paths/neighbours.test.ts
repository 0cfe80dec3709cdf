import t from 'tap';
import { neighboursOn } from '../../src/paths/neighbours.js';

t.test(
  'selects IPv4 neighbours with a MAC on the given devices from the output of iproute2 6.1',
  async (t) => {
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
    t.same(neighboursOn([''], raw), [], 'an empty device name matches no neighbour');
  },
);
