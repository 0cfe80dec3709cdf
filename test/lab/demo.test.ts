/**
 * The demo of `npm start`. Each step shows output that confirms its claim. The demo exits on a
 * signal and leaves nothing behind.
 */
import { existsSync } from 'node:fs';
import { request } from 'node:http';
import t from 'tap';
import { type Running, run, start } from '../support/command.js';
import { eventually } from '../support/wait.js';

const START = new URL('../../scripts/start.mjs', import.meta.url).pathname;
const LIMIT_MS = 30_000;

t.test('every step prints its proof, and nothing is left', async (t) => {
  const demo = start([process.execPath, START, '--once']);
  t.equal(await demo.exit(LIMIT_MS), 0, demo.stderr);
  t.equal(demo.stdout.match(/3 packets transmitted, 3 received/g)?.length, 2, 'all pings are answered');
  t.match(demo.stdout, /VXLAN, flags \[I\] \(0x08\), vni 100\n.*ICMP echo request/, 'tcpdump shows VXLAN');
  t.equal(demo.stdout.match(/ [\d.]+ Gb\/s received/g)?.length, 2, 'both throughputs are shown');
  t.match(demo.stdout, /vtepd_peer_tx_frames_total\{/, 'the metrics are shown');
  t.same(await namespacesOf(demo), [], 'no namespace is left');
  t.notOk(existsSync(socketOf(demo)), 'no socket is left');
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  t.test(`the demo runs until ${signal}`, async (t) => {
    const demo = start([process.execPath, START]);
    t.teardown(() => demo.stop('SIGKILL'));
    await demo.untilOutput(/The demo keeps running/, LIMIT_MS);
    t.equal((await namespacesOf(demo)).length, 2, 'two namespaces exist');
    t.equal(await statusOf(socketOf(demo)), 200, 'the API answers outside of the namespaces');
    t.equal(await demo.stop(signal, LIMIT_MS), 0, 'exit 0');
    t.same(await namespacesOf(demo), [], 'no namespace is left');
    t.notOk(existsSync(socketOf(demo)), 'no socket is left');
  });
}

t.test('a demo interrupted during set-up leaves nothing', async (t) => {
  const demo = start([process.execPath, START]);
  await eventually('the first namespace', async () => (await namespacesOf(demo)).length > 0, LIMIT_MS);
  t.equal(await demo.stop('SIGINT', LIMIT_MS), 0, 'exit 0');
  t.same(await namespacesOf(demo), [], 'no namespace is left');
});

async function namespacesOf(demo: Running): Promise<string[]> {
  const names = await run('ip netns list');
  return names.split('\n').filter((name) => name.startsWith(`vtdemo-${demo.pid}-`));
}

function socketOf(demo: Running): string {
  return /unix:(\S+)/.exec(demo.stdout)?.[1] ?? '';
}

function statusOf(socketPath: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path: '/readyz', agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    })
      .on('error', reject)
      .end();
  });
}
