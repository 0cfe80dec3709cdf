/**
 * A name that stands for many hosts, with a real name server.
 *
 * The record of the name appears and changes, and lookups fail, while a ping runs.
 *
 *     vma 10.10.10.1        vmb 10.10.10.2        vmc 10.10.10.3
 *         |                     |                     |
 *     [br-vxlan]            [br-vxlan]            [br-vxlan]
 *         |                     |                     |
 *       vtepd                vxlan100              vxlan100         dnsmasq
 *         |                     |                     |                |
 *     a  192.168.80.10      b  192.168.80.11      c  192.168.80.12   dns  192.168.80.53
 *         +---------------------+---------------------+----------------+   switch
 */
import t from 'tap';
import { createLab } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { NameServer, useNameServer } from '../support/name-server.js';
import { assertPing, SteadyPing } from '../support/traffic.js';
import type { Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const A = '192.168.80.10';
const B = '192.168.80.11';
const C = '192.168.80.12';
const DNS = '192.168.80.53';
const NAME = 'far.lab';
/**
 * Time within which vtepd looks a name up again, ms: the TTL, or the retry delay after one or two
 * failures, plus a margin.
 */
const LOOKED_UP_MS = 30_000;

t.test('peers follow the addresses of their name', async (t) => {
  const lab = createLab(t);
  const hosts = await lab.hosts({ a: [`${A}/24`], b: [`${B}/24`], c: [`${C}/24`], dns: [`${DNS}/24`] });
  const { a, b, c } = hosts;
  for (const host of [a, b, c]) await lab.bridge(host);
  const vma = await lab.vm(a, 'vma', { address: '10.10.10.1/24' });
  await lab.vm(b, 'vmb', { address: '10.10.10.2/24' });
  await lab.vm(c, 'vmc', { address: '10.10.10.3/24' });
  await lab.kernelVtep(b, { vni: 100, local: B, remotes: [A] });
  await lab.kernelVtep(c, { vni: 100, local: C, remotes: [A] });
  useNameServer(a, DNS);
  const server = new NameServer(lab, hosts.dns);
  await server.start();

  const vtepd = await lab.vtepd(a, `--vni 100 --peer ${NAME},all=on --bridge br-vxlan`);
  t.same(await peersOf(vtepd), [], 'the peer has no address at start');
  t.match(await warningsOf(vtepd), [{ code: 'peer_unresolved', detail: /far\.lab.*no such name/ }]);
  const events = lab.keep(a.start(`curl -sN --unix-socket ${vtepd.socket} http://localhost/v1/events`));

  server.set({ [NAME]: [A, B] });
  await untilPeers(vtepd, [B]);
  t.same(await warningsOf(vtepd), [], 'the warning is cleared, and the own address of vtepd is no peer');
  await assertPing(t, vma, '10.10.10.2');
  const toB = await SteadyPing.start(vma, '10.10.10.2');

  server.set({ [NAME]: [B, C] });
  await untilPeers(vtepd, [B, C]);
  await assertPing(t, vma, '10.10.10.3');
  const { sent, lost } = await toB.stop();
  t.equal(lost, 0, `none of ${sent} pings to b was lost while c was added`);

  const toC = await SteadyPing.start(vma, '10.10.10.3');
  server.set({ [NAME]: [C] });
  await untilPeers(vtepd, [C]);
  t.notOk(
    (await vtepd.fdb(100)).some(({ peer }) => peer === B),
    'entries learned from b are removed with b',
  );

  await server.stop();
  await eventually(
    'a failed lookup',
    async () => (await warningsOf(vtepd)).some(({ code }) => code === 'peer_resolve_stale'),
    LOOKED_UP_MS,
  );
  t.same(await peersOf(vtepd), [C], 'the last address is kept');
  const metrics = await vtepd.metrics();
  t.ok(metrics.sum('vtepd_peer_resolve_failures_total', { name: NAME }) >= 2, 'failures are counted');
  const lastSuccessS = metrics.sum('vtepd_peer_resolve_last_success_timestamp_seconds', { name: NAME });
  t.ok(Math.abs(Date.now() / 1000 - lastSuccessS) < 120, 'the time of the last success is exported');

  await server.start();
  await eventually(
    'the name to resolve again',
    async () => (await warningsOf(vtepd)).length === 0,
    LOOKED_UP_MS,
  );
  const kept = await toC.stop();
  t.equal(kept.lost, 0, `none of ${kept.sent} pings to c was lost while b was removed and lookups failed`);

  const received = resolveEvents(events.stdout);
  t.same(
    // A name server rotates the addresses of a name.
    received.map(({ addresses, error }) => [
      addresses.filter((address) => address !== A).sort(),
      error === '',
    ]),
    [
      [[B], true],
      [[B, C], true],
      [[C], true],
      [[C], false],
      [[C], true],
    ],
    'an event reports each step',
  );
  t.equal(vtepd.log().match(/peer_unresolved/g)?.length, 1, 'the failure is logged once');
  assertIdentity(t, await vtepd.metrics());
});

async function peersOf(vtepd: Vtepd): Promise<string[]> {
  const { body } = await vtepd.get<{ items: { resolved: string | null }[] }>('/v1/vnis/100/peers');
  return body.items.flatMap(({ resolved }) => resolved ?? []).sort();
}

async function untilPeers(vtepd: Vtepd, expected: readonly string[]): Promise<void> {
  await eventually(
    `${expected.join(', ')} to be the peers`,
    async () => (await peersOf(vtepd)).join() === expected.join(),
    LOOKED_UP_MS,
  );
}

async function warningsOf(vtepd: Vtepd): Promise<{ code: string; detail: string }[]> {
  const { body } = await vtepd.get<{ warnings: { code: string; detail: string }[] }>('/v1/status');
  return body.warnings.filter(({ code }) => code.startsWith('peer_'));
}

function resolveEvents(stream: string): { addresses: string[]; error: string }[] {
  return [...stream.matchAll(/^event: resolve\ndata: (.*)$/gm)].map(([, data]) => JSON.parse(data));
}
