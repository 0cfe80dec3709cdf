/** vtepctl vni: requests with the keys of the configuration file, ETags and the token. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { fakeApi, refusal } from '../../support/fake-api.js';
import { runVtepctl } from '../../support/vtepctl.js';

const VIEW = {
  vni: 200,
  state: 'up',
  tap: 'vtep200',
  bridge: 'br0',
  address: ['10.0.0.1/24', '2001:db8::1/64'],
  mac: '02:00:00:00:00:01',
  mtu: 'auto',
  overlayMtu: 1450,
  learning: true,
  ageing: 300,
  fdbLimit: 65536,
  flood: false,
  accept: 'peers',
  vlan: 'pass',
  peers: 1,
  fdb: { static: 0, dynamic: 3 },
};

async function api(t: Test) {
  const { place, calls } = await fakeApi(t, {
    'GET /v1/vnis': { body: { items: [VIEW], nextCursor: null } },
    'POST /v1/vnis': { status: 201, body: VIEW },
    'GET /v1/vnis/200': { headers: { etag: '"0123456789abcdef"' }, body: VIEW },
    'PATCH /v1/vnis/200': { body: VIEW },
    'DELETE /v1/vnis/200': { status: 204 },
    'PATCH /v1/vnis/201': refusal(412, 'precondition_failed', 'VNI 201 has changed'),
    'GET /v1/vnis/201': { headers: { etag: '"0"' }, body: VIEW },
  });
  const ctl = (line: string, env = {}) => runVtepctl(line, { env: { VTEPCTL_API: place, ...env } });
  return { ctl, calls };
}

const SILENT = { code: 0, stdout: '', stderr: '' };

t.test('add sends its flags with the key names and value types of the configuration file', async (t) => {
  const { ctl, calls } = await api(t);
  const flags =
    '--bridge br0 --address 10.0.0.1/24 --address 2001:db8::1/64 --mtu 1400 --learning off --ageing 0 --fdb-limit 10 --flood off --accept any --vlan strip --mac 02-00-00-00-00-01 --tap t0';
  const peers = '--peer 192.0.2.1 --peer far.example,port=8472,flood=off';
  t.strictSame(await ctl(`vni add 200 ${flags} ${peers}`), SILENT);
  t.strictSame(calls[0].body, {
    vni: 200,
    tap: 't0',
    bridge: 'br0',
    address: ['10.0.0.1/24', '2001:db8::1/64'],
    mac: '02:00:00:00:00:01',
    mtu: 1400,
    learning: false,
    ageing: 0,
    fdbLimit: 10,
    flood: false,
    accept: 'any',
    vlan: 'strip',
    peers: [{ address: '192.0.2.1' }, { address: 'far.example', port: 8472, flood: false }],
  });
  t.strictSame(JSON.parse((await ctl('vni add 200 --json')).stdout), VIEW);
  t.strictSame(calls[1].body, { vni: 200 }, 'omitted settings are not sent');
});

t.test('set sends the ETag that it has read, or the ETag of --if-match', async (t) => {
  const { ctl, calls } = await api(t);
  t.strictSame(await ctl('vni set 200 --mtu auto --flood on'), SILENT);
  t.match(calls, [
    { method: 'GET', path: '/v1/vnis/200' },
    { method: 'PATCH', body: { mtu: 'auto', flood: true }, headers: { 'if-match': '"0123456789abcdef"' } },
  ]);
  await ctl('vni set 200 --default bridge --default fdb-limit --if-match "7"');
  t.equal(calls.length, 3, 'with --if-match the VNI is not read first');
  t.strictSame(calls[2].body, { bridge: null, fdbLimit: null });
  t.equal(calls[2].headers['if-match'], '"7"');
  t.strictSame(await ctl('vni set 201 --ageing 1'), {
    code: 1,
    stdout: '',
    stderr: 'vtepctl: VNI 201 has changed\n',
  });
});

t.test('VNIs are listed, shown and removed', async (t) => {
  const { ctl, calls } = await api(t);
  t.match((await ctl('vni list')).stdout, /^VNI +TAP .*\n200 +vtep200 +br0 .* 0 +3 +up\n$/);
  const { stdout } = await ctl('vni show 200');
  t.match(stdout, /^vni {10}200\nstate {8}up\ntap {10}vtep200\n/);
  t.match(stdout, /\naddress +10\.0\.0\.1\/24,2001:db8::1\/64\n/);
  t.match(stdout, /\nflood +off\n/);
  t.match(stdout, /\netag +"0123456789abcdef"\n$/);
  t.strictSame(JSON.parse((await ctl('vni show 200 --json')).stdout), {
    ...VIEW,
    etag: '"0123456789abcdef"',
  });
  t.strictSame(await ctl('vni del 200'), SILENT);
  t.equal(calls.at(-1)!.headers['if-match'], undefined);
  await ctl('vni del 200 --if-match "7"');
  t.equal(calls.at(-1)!.headers['if-match'], '"7"');
  t.match(await ctl('vni del 202'), { code: 1, stderr: 'vtepctl: there is nothing here\n' });
});

t.test('--token-file takes precedence over VTEPCTL_TOKEN_FILE', async (t) => {
  const { ctl, calls } = await api(t);
  const dir = t.testdir();
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const one = file('one', 'secret-1\n');
  const two = file('two', 'secret-2');
  await ctl('vni list');
  await ctl('vni list', { VTEPCTL_TOKEN_FILE: one });
  await ctl(`vni list --token-file ${two}`, { VTEPCTL_TOKEN_FILE: one });
  t.strictSame(
    calls.map(({ headers }) => headers.authorization),
    [undefined, 'Bearer secret-1', 'Bearer secret-2'],
  );
  const bad = await ctl(`vni list --token-file ${file('bad', 'a b')}`);
  t.match(bad, { code: 2, stderr: /: must contain one token of printable characters without spaces\n$/ });
  t.notMatch(bad.stderr, 'a b', 'the message does not contain the token');
});

t.test('reload prints the changes and the settings that need a restart', async (t) => {
  const report = { changed: ['vni 200: mtu'], needsRestart: ['port'], hasFile: true };
  const { place } = await fakeApi(t, { 'POST /v1/reload': { body: report } });
  const ctl = (line: string) => runVtepctl(line, { env: { VTEPCTL_API: place } });
  t.strictSame(await ctl('reload'), {
    code: 0,
    stdout: 'changed: vni 200: mtu\ntakes effect at the next start: port\n',
    stderr: '',
  });
  t.strictSame(JSON.parse((await ctl('reload --json')).stdout), report);
  report.hasFile = false;
  t.match(
    (await ctl('reload')).stdout,
    /^nothing changed: vtepd runs without --config, .*\nA reload applies changes of that file: /,
  );
});
