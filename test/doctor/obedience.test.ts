/** Findings about devices by which this host obeys machines of the overlay. */
import t from 'tap';
import { checkObedience, checkRedirects } from '../../src/doctor/checks.js';
import type { DaemonFacts, MachineFacts, Obedience } from '../../src/doctor/facts.js';

const RA = 'net.ipv6.conf.br0.accept_ra=0';
const DAEMON = {
  stackDevices: [
    { name: 'br0', isOurs: false },
    { name: 'vtep200', isOurs: true },
  ],
} as unknown as DaemonFacts;

const machine = (...entries: [string, Obedience][]): MachineFacts =>
  ({ obedience: new Map(entries) }) as unknown as MachineFacts;

t.test('a host that obeys nothing has no finding', async (t) => {
  t.same(checkRedirects(machine()), []);
  t.same(checkObedience(machine(), DAEMON), []);
});

t.test('IPv4 redirects are one notice for all devices', async (t) => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const found = checkRedirects(
    machine(...names.map((name): [string, Obedience] => [name, { redirects: true, ipv6: [] }])),
  );
  t.match(found, [{ notice: true, code: 'redirects_accepted', what: /on a, b, c and 2 more$/ }]);
  t.equal(found.length, 1);
});

t.test('a device of another program is a notice; one of vtepd has its warning', async (t) => {
  const facts = machine(
    ['br0', { redirects: false, ipv6: [RA] }],
    ['vtep200', { redirects: false, ipv6: [RA] }],
  );
  const found = checkObedience(facts, DAEMON);
  t.match(found, [{ notice: true, code: 'device_obeys_overlay', what: /^br0, /, cure: `sysctl -w ${RA}` }]);
  t.equal(found.length, 1);
  t.same(checkRedirects(facts), []);
});
