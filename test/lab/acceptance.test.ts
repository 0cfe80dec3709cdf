/**
 * Acceptance criterion of the first version: ping, and TCP above 1 Gb/s in both directions.
 *
 * vtepd runs in one namespace, kernel vxlan (`ip link add vxlan100 type vxlan id 100 …`) in the
 * other. The veth pair between the namespaces has its default offloads. The topology is that of
 * two-hosts.test.ts.
 */
import t from 'tap';
import { assertIdentity } from '../support/metrics.js';
import { assertPing, iperf } from '../support/traffic.js';
import { twoHosts } from '../support/two-hosts.js';

const REQUIRED_BPS = 1e9;
const SECONDS = 4;

t.test('TCP exceeds 1 Gb/s in both directions between vtepd and kernel vxlan', async (t) => {
  const { vm101, vm105, vtepd } = await twoHosts(t, 'batch');
  await assertPing(t, vm101, '10.10.10.105');
  for (const [from, to, address] of [
    [vm101, vm105, '10.10.10.105'],
    [vm105, vm101, '10.10.10.101'],
  ] as const) {
    const bitsPerSecond = await iperf(from, to, address, SECONDS);
    const figure = `${from.label} to ${to.label}: ${(bitsPerSecond / 1e9).toFixed(2)} Gb/s`;
    t.comment(figure);
    t.ok(bitsPerSecond > REQUIRED_BPS, `${figure} is above 1 Gb/s`);
  }
  assertIdentity(t, await vtepd.metrics());
});
