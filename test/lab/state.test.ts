/**
 * Persistence of changes through the API, after a stop and after a kill during a write.
 *
 *     host  eth0 192.168.80.10 ====== veth ====== eth0 192.168.80.11  other
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createLab } from '../support/lab.js';
import { type Vtepd, vtepdCommand } from '../support/vtepd.js';

const KILLS = 10;
/** Minimum number of answered changes before each kill; the kill happens during later changes. */
const ANSWERED = 3;
const PEERS = '/v1/vnis/100/peers';

t.test('changes through the API survive a restart and override the file', async (t) => {
  const { lab, host, state } = await oneHost(t);
  const file = join(lab.dir, 'vtepd.yaml');
  writeFileSync(file, 'vnis: [{ vni: 100, peers: [192.168.80.11, 192.168.80.12] }, { vni: 200, mtu: 1400 }]');
  const flags = `--config ${file} --state ${state}`;
  const vtepd = await lab.vtepd(host, flags);
  const call = async (status: number, method: string, path: string, body?: unknown) =>
    t.equal((await vtepd.call(method, path, body)).status, status, `${method} ${path}`);
  await call(201, 'POST', PEERS, { address: '192.168.80.13', flood: false });
  await call(204, 'DELETE', `${PEERS}/192.168.80.12`);
  await call(204, 'PUT', '/v1/vnis/100/fdb/02:00:00:00:00:aa', { peer: '192.168.80.13' });
  await call(201, 'POST', '/v1/vnis', { vni: 300, tap: 'mine', ageing: 7 });
  await call(200, 'PATCH', '/v1/vnis/200', { mtu: 1300 });
  const before = await everything(vtepd);

  t.equal(await vtepd.stop(), 0);
  const second = await lab.vtepd(host, flags);
  t.strictSame(await everything(second), before, 'the changes survive a stop');
  const { body } = await second.get<{ warnings: { code: string; detail: string }[] }>('/v1/status');
  t.strictSame(
    body.warnings.filter(({ code }) => code === 'state_overrides').map(({ detail }) => detail),
    [
      'VNI 100: peer 192.168.80.12 is configured, but was removed through the API',
      'VNI 200: mtu is configured as 1400, but was changed through the API to 1300',
    ],
  );
  const { code, stderr } = await host.outcome(vtepdCommand(`--vni 1 --port 4790 --api off --state ${state}`));
  t.match(
    { code, stderr },
    { code: 1, stderr: /in use by another vtepd/ },
    'a second daemon cannot use the state file',
  );

  await second.stop('SIGKILL');
  const third = await lab.vtepd(host, flags);
  t.strictSame(await everything(third), before, 'the changes survive kill -9');
  t.equal((await third.call('DELETE', '/v1/vnis/300')).status, 204);
  t.equal((await third.call('PATCH', '/v1/vnis/200', { mtu: 1400 })).status, 200);
  const kept = JSON.parse(readFileSync(state, 'utf8'));
  const { mac, ...changed } = kept.vnis[200].changed;
  t.strictSame(changed, {}, 'a change that was reverted is not stored');
  t.match(mac, /^fe:/, 'the MAC of the TAP is kept');
  t.notOk('300' in kept.vnis);
});

t.test(`no answered change is lost in ${KILLS} kills during changes`, async (t) => {
  const { lab, host, state } = await oneHost(t);
  let number = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const vtepd = await lab.vtepd(host, `--vni 100 --state ${state}`);
    const present = new Set(await peers(vtepd));
    const expected = Array.from({ length: number }, (_, i) => addressOf(i));
    t.strictSame(
      expected.filter((address) => !present.has(address)),
      [],
      `no answered change is lost after ${kill} kills`,
    );
    number = present.size;
    const add = () => vtepd.call('POST', PEERS, { address: addressOf(number) }).catch(() => undefined);
    for (let answered = 0; answered < ANSWERED && (await add())?.status === 201; answered++) number++;
    t.ok(number >= (kill + 1) * ANSWERED, `${number} peers were added before kill ${kill + 1}`);
    const killed = delay(Math.random() * 50).then(() => vtepd.stop('SIGKILL'));
    for (let answer = await add(); answer?.status === 201; answer = await add()) number++;
    await killed;
  }
});

t.test('an invalid or foreign state file is refused with a line number and left unchanged', async (t) => {
  const { host, state } = await oneHost(t);
  for (const [text, expected] of [
    [
      '{"format": "vtepd-state-1",\n"vnis": {"100": {"changed": {"mtu": 1}}}}',
      /state\.json:2: vnis\.100\.changed\.mtu 1: must be/,
    ],
    ['hosts: []\n', /state\.json:1: not a vtepd state file/],
  ] as const) {
    writeFileSync(state, text);
    const { code, stderr } = await host.outcome(vtepdCommand(`--vni 1 --state ${state}`));
    t.match({ code, stderr }, { code: 2, stderr: expected });
    t.equal(stderr.trim().split('\n').length, 1, 'the error is one line');
    t.equal(readFileSync(state, 'utf8'), text);
  }
});

async function oneHost(t: Test) {
  const lab = createLab(t);
  const { host } = await lab.hosts({ host: ['192.168.80.10/24'], other: ['192.168.80.11/24'] });
  return { lab, host, state: join(lab.dir, 'state.json') };
}

function addressOf(number: number): string {
  return `10.77.${Math.floor(number / 250)}.${(number % 250) + 1}`;
}

async function peers(vtepd: Vtepd): Promise<string[]> {
  const { body } = await vtepd.get<{ items: { address: string }[] }>(PEERS);
  return body.items.map(({ address }) => address);
}

/** VNIs with their settings, peers, and static entries. */
async function everything(vtepd: Vtepd) {
  const { body } = await vtepd.get<{
    items: { vni: number; tap: string; overlayMtu: number; ageing: number }[];
  }>('/v1/vnis');
  const vnis = body.items.map(({ vni, tap, overlayMtu, ageing }) => ({ vni, tap, overlayMtu, ageing }));
  const fdb = (await vtepd.fdb(100)).map(({ mac, peer, type }) => ({ mac, peer, type }));
  return { vnis, peers: await peers(vtepd), fdb };
}
