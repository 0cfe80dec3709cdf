/**
 * Load on the API during traffic, on the topology of two-hosts.test.ts.
 *
 * A client makes 1000 changes to VNIs and peers while iperf3 runs in VNI 100. Half of the changes
 * are made over the unix socket, half over TCP with a token from the other host. In VNI 100 only
 * the flood list changes. Another test makes every call that the running daemon documents.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Client } from 'undici';
import { createLab } from '../support/lab.js';
import { assertIdentity, Metrics } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { tryEveryCall } from '../support/openapi.js';
import { assertPing } from '../support/traffic.js';
import { FAR, NEAR, twoHosts } from '../support/two-hosts.js';
import { vtepdCommand } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const ROUNDS = 25;
const CALLS = 20 * ROUNDS;
/** Time limit of the changes, ms, on a loaded machine. */
const CHANGES_MS = 60_000;
const TOKEN = 'a-token-of-some-length';

t.test('500 changes over the unix socket do not disturb an unrelated flow', async (t) => {
  const { near, vm101, vm105, vtepd } = await twoHosts(t, 'batch');
  const load = () => near.tool('api-load.mjs', vtepd.socket, ROUNDS);
  await assertUndisturbed(t, vm101, vm105, load, () => vtepd.metrics());
  t.strictSame(
    (await vtepd.get<{ items: unknown[] }>('/v1/vnis')).body.items.length,
    1,
    'all added VNIs were removed',
  );
});

t.test('500 changes over TCP with a token from another host do not disturb a flow', async (t) => {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  for (const host of [near, far]) await lab.bridge(host);
  const vm101 = await lab.vm(near, 'vm101', { address: '10.10.10.101/24' });
  const vm105 = await lab.vm(far, 'vm105', { address: '10.10.10.105/24' });
  await lab.kernelVtep(far, { vni: 100, local: FAR, remotes: [NEAR] });
  const file = join(lab.dir, 'token');
  writeFileSync(file, `${TOKEN}\n`, { mode: 0o600 });
  const flags = `--api ${NEAR}:8789 --api-token-file ${file} --metrics ${NEAR}:9789 --state off`;
  const daemon = lab.keep(
    near.start(vtepdCommand(`--vni 100 --peer ${FAR} --bridge br-vxlan --log-format json ${flags}`)),
  );
  const fetched = (path: string, ...more: string[]) =>
    far.outcome(['curl', '-s', '-S', '-w', '\n%{http_code}', ...more, `http://${NEAR}${path}`]);
  await eventually('vtepd to be ready', async () => {
    if (!daemon.alive) throw new Error(daemon.stderr);
    return /200$/.test((await fetched(':8789/readyz')).stdout);
  });
  t.match(
    (await fetched(':8789/v1/status')).stdout,
    /"code":"unauthorized".*\n401$/,
    'the token is required',
  );
  t.match((await fetched(':9789/v1/status')).stdout, /\n404$/, 'the metrics listener serves nothing else');

  const metrics = async () => new Metrics((await fetched(':9789/metrics')).stdout.replace(/\n\d+$/, ''));
  const load = () => far.tool('api-load.mjs', `http://${NEAR}:8789`, ROUNDS, TOKEN);
  await assertUndisturbed(t, vm101, vm105, load, metrics);
  t.notMatch(daemon.stderr, TOKEN, 'the log does not contain the token');
  t.equal(await daemon.stop('SIGTERM', 5000), 0);
});

t.test('every documented call works on the running daemon', async (t) => {
  const { vtepd } = await twoHosts(t, 'batch');
  const client = new Client('http://localhost', { connect: { socketPath: vtepd.socket }, pipelining: 0 });
  t.teardown(() => client.destroy());
  await tryEveryCall(t, 'http://localhost', client);
});

/** Runs UDP by iperf3 in VNI 100 while `load` changes other VNIs and the flood list of VNI 100. */
async function assertUndisturbed(
  t: Test,
  from: Namespace,
  to: Namespace,
  load: () => ReturnType<Namespace['tool']>,
  metrics: () => Promise<Metrics>,
): Promise<void> {
  await assertPing(t, from, '10.10.10.105');
  const server = to.start('iperf3 --server --one-off --json');
  await eventually('iperf3 to listen', async () => (await to.run('ss -Hltn')).includes(':5201'));
  const client = from.start(
    'iperf3 --client 10.10.10.105 --udp --bitrate 10M --length 1000 --time 600 --json',
  );
  const changes = load();
  t.equal(await changes.exit(CHANGES_MS), 0, `the client exits with 0: ${changes.stderr}`);
  t.equal(changes.stdout.trim(), String(CALLS), 'all changes were made');
  t.ok(client.alive, 'the flow ran until the end of the changes');
  await client.stop('SIGINT');
  await server.exit(5_000);
  // The counts of the receiver, because the sender was interrupted before it received them.
  const { sum } = JSON.parse(server.stdout).end;
  t.ok(sum.packets > 1000, `the flow had ${sum.packets} datagrams`);
  t.equal(sum.lost_packets, 0, 'no datagram was lost');
  const after = await metrics();
  // No host has the address of the added peer, so copies for this peer are dropped as no_route.
  const { no_route: _, ...drops } = noZeros(after.drops('encap', 100));
  t.same(drops, {}, 'no other frame of the VNI was dropped');
  assertIdentity(t, after);
}

function noZeros(drops: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(drops).filter(([, frames]) => frames > 0));
}
