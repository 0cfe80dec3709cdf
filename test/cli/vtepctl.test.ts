/** vtepctl with an API on a unix socket and on TCP: exit status, output and changes. */
import t, { type Test } from 'tap';
import { listen } from '../../src/api/listen.js';
import { statusText } from '../../src/cli/vtepctl-text.js';
import {
  P_LAST_SEEN_MS,
  P_TX_BYTES,
  P_TX_FRAMES,
  V_DROPS_ENCAP,
  V_TAP_RX_FRAMES,
} from '../../src/exchange/counters.js';
import { DROP } from '../../src/exchange/drop-reason.js';
import { controlOverPlainDataPlane, STARTED_MS } from '../support/control.js';
import { socketPath } from '../support/socket-path.js';
import { type Result, runVtepctl } from '../support/vtepctl.js';

/** Findings of the checks that need no daemon. */
const MACHINE_FINDINGS = [
  {
    code: 'port_taken',
    what: 'vxlan100 holds it',
    why: 'vtepd cannot receive',
    cure: 'ip link delete vxlan100',
  },
];

/** Progress lines of all calls of vtepctl. */
const steps: string[] = [];

const NOW_MS = STARTED_MS + 3_600_000;

/** Starts a daemon's API on a unix socket; `ctl` runs vtepctl with this socket in VTEPCTL_API. */
async function daemon(t: Test) {
  const { server, dataPlane, findings, reasons } = await controlOverPlainDataPlane();
  t.teardown(() => server.close());
  const place = await listen(server, { kind: 'unix', path: socketPath(t) });
  const ctl = (line: string) => run(line, { VTEPCTL_API: place });
  return { dataPlane, server, findings, reasons, place, ctl };
}

function run(line: string, env: Record<string, string> = {}): Promise<Result> {
  return runVtepctl(line, {
    env,
    progress: (line) => steps.push(line),
    doctor: async () => MACHINE_FINDINGS,
    nowMs: () => NOW_MS,
  });
}

t.test('an invalid command line gives exit status 2 and one line', async (t) => {
  const rows: [string, RegExp][] = [
    ['', /^vtepctl: no command given \("vtepctl --help" lists the commands\)\n$/],
    ['peer', /^vtepctl: no command given/],
    ['statsu', /^vtepctl: unknown command 'statsu' \(Did you mean status\?\)/],
    ['status now', /^vtepctl: too many arguments for 'status'/],
    ['status --vni 1', /^vtepctl: unknown option '--vni'/],
    ['peer add', /^vtepctl: missing required argument 'ADDR/],
    [
      'peer add 239.0.0.1',
      /^vtepctl: peer 239\.0\.0\.1: must be a unicast address, not a multicast group\n$/,
    ],
    ['peer add 192.0.2.1,prt=1', /^vtepctl: peer 192\.0\.2\.1,prt=1: has an unknown option "prt"/],
    ['fdb add 02:00:00:00:00:01', /^vtepctl: missing required argument 'PEER'/],
    [
      'fdb add 01:00:00:00:00:01 192.0.2.11 --vni 100',
      /^vtepctl: MAC 01:00:00:00:00:01: must be a unicast MAC/,
    ],
    ['fdb show --type learned', /^vtepctl: --type learned: must be "static", "dynamic" or "all"\n$/],
    ['fdb show --vni 16777216', /^vtepctl: --vni 16777216: must be a whole number from 0 to 16777215\n$/],
    ['vni add', /^vtepctl: missing required argument 'ID'/],
    ['vni add 16777216', /^vtepctl: VNI 16777216: must be a whole number from 0 to 16777215\n$/],
    ['vni add 200 --mtu 20', /^vtepctl: --mtu 20: must be "auto" or a whole number from 68 to 65535\n$/],
    ['vni add 200 --mtu 1400 --mtu 1500', /^vtepctl: --mtu 1500: given twice; give it once\n$/],
    ['vni add 200 --peer 192.0.2.1,vni=7', /^vtepctl: --peer 192\.0\.2\.1,vni=7: .*remove vni=\n$/],
    ['vni set 200', /^vtepctl: vni set: no setting given/],
    ['vni set 200 --default tap', /^vtepctl: --default tap: must be "bridge", /],
    ['events --type heard', /^vtepctl: --type heard: must be "learned", /],
    ['counters --watch 0', /^vtepctl: --watch 0: must be a whole number from 1 to 3600\n$/],
    ['top', /^vtepctl: top: stdin or stdout is not a terminal; use --batch to print lines\n$/],
    ['capture --json', /^vtepctl: capture: --json needs -w FILE, because/],
    ['capture --snaplen 0', /^vtepctl: --snaplen 0: must be a whole number from 1 to 262144\n$/],
    ['completion fish', /^vtepctl: .*Allowed choices are bash, zsh/],
    [
      '--token-file /nowhere status',
      /^vtepctl: --token-file \/nowhere: cannot be read \(ENOENT\); name a file/,
    ],
    ['--api nowhere status', /^vtepctl: --api nowhere: must be HOST:PORT, \[IPV6\]:PORT or unix:PATH\n$/],
  ];
  for (const [line, message] of rows) {
    const { code, stdout, stderr } = await run(line);
    t.equal(code, 2, `"${line}" gives exit status 2`);
    t.equal(stdout, '', `"${line}" prints nothing on stdout`);
    t.match(stderr, message, `"${line}" prints the error`);
  }
  t.match(await run('status', { VTEPCTL_API: 'x' }), { code: 2, stderr: /^vtepctl: VTEPCTL_API x: must be/ });
});

t.test('an unreachable daemon gives exit status 1', async (t) => {
  const { code, stderr } = await run(`--api unix:${socketPath(t)} status`);
  t.equal(code, 1);
  t.match(
    stderr,
    /^vtepctl: cannot reach vtepd at unix:\S+ \(ENOENT\); check that vtepd is running, or give its address with --api\n$/,
  );
});

t.test('a refusal gives exit status 1 and the detail on stderr', async (t) => {
  const { ctl } = await daemon(t);
  const rows: [string, string][] = [
    ['peer list --vni 7', 'VNI 7 is not configured'],
    ['counters --vni 7', 'VNI 7 is not configured'],
    ['peer add 192.0.2.11', '192.0.2.11 is a peer of VNI 100 already'],
    ['peer add nowhere.example', 'nowhere.example: name not known'],
    ['peer del 192.0.2.99', 'VNI 100 has no peer 192.0.2.99'],
    ['fdb add 02:00:00:00:00:aa 192.0.2.99', 'VNI 100 has no peer 192.0.2.99'],
    ['fdb del 02:00:00:00:00:aa', 'VNI 100 has no entry for 02:00:00:00:00:aa'],
  ];
  for (const [line, detail] of rows) {
    t.strictSame(
      await ctl(line),
      { code: 1, stdout: '', stderr: `vtepctl: ${detail}\n` },
      `"${line}" is refused`,
    );
  }
});

t.test('--vni may be omitted if there is only one VNI', async (t) => {
  const { ctl } = await daemon(t);
  t.equal((await ctl('fdb show')).code, 0, '--vni is optional with a single VNI');
  t.strictSame(await ctl('vni add 200'), { code: 0, stdout: '', stderr: '' });
  t.strictSame(await ctl('fdb show'), {
    code: 2,
    stdout: '',
    stderr: 'vtepctl: --vni ID is required; configured VNIs: 100, 200\n',
  });
  t.equal((await ctl('fdb show --vni 200')).code, 0);
});

t.test('status prints version, underlay, warnings, notices and VNIs', async (t) => {
  const { ctl, server } = await daemon(t);
  const { code, stdout } = await ctl('status');
  t.equal(code, 0);
  t.match(stdout, /^vtepd 0\.1\.0 ready, up \d+/);
  t.match(
    stdout,
    `
underlay 192.0.2.10 port 4789 io batch
offloads UDP_GRO
warning overlay_mtu_too_large: --mtu 9000 exceeds 1450; larger packets are lost; use --mtu auto
notice queues_unsteered: vtep100 has no program; frames may be reordered; run with CAP_BPF

`,
  );
  t.match(
    stdout,
    /\nVNI +TAP +BRIDGE +ADDRESS +MAC +OVERLAY MTU +PEERS +STATIC +DYNAMIC +STATE\n100 +vtep100 +- +- +02:00:00:00:00:01 +1450 +2 +0 +0 +up\n$/,
  );
  const { uptimeS: _, ...json } = JSON.parse((await ctl('status --json')).stdout);
  const { uptimeS: __, ...response } = (await server.inject('/v1/status')).json();
  t.strictSame(json, response, '--json prints the response of the API');
  t.notMatch(stdout, /through the kernel/);
  const flows = { ...response, uptimeS: 1, underlay: { ...response.underlay, offloads: ['TCX_FLOWS'] } };
  t.match(statusText(flows), /\noffloads TCX_FLOWS\nTCP through the kernel: .*"vtepctl capture"\n/);
});

t.test('peers are listed, added and removed', async (t) => {
  const { ctl, dataPlane } = await daemon(t);
  const [near] = dataPlane.peers(100);
  const base = dataPlane.counters.peerBase(near.peerIdx);
  dataPlane.counters.cells[base + P_LAST_SEEN_MS] = NOW_MS - 65_000;
  dataPlane.counters.cells[base + P_TX_FRAMES] = 12;
  dataPlane.counters.cells[base + P_TX_BYTES] = 3456;
  t.equal(
    (await ctl('peer list')).stdout,
    [
      'PEER         PORT  FLOOD  RESOLVED      PATH MTU  LAST SEEN  TX  TX BYTES  RX  RX BYTES',
      '192.0.2.11   4789  on     192.0.2.11    1500      1m 5s ago  12      3456   0         0',
      'far.example  8472  off    2001:db8::12  -         never       0         0   0         0',
      '',
    ].join('\n'),
  );

  t.strictSame(await ctl('peer add fe80::5%eth0,port=8472,flood=off'), { code: 0, stdout: '', stderr: '' });
  t.match(dataPlane.peers(100).at(-1), {
    address: { text: 'fe80::5%eth0', port: 8472 },
    flood: false,
    name: '',
  });
  t.match(JSON.parse((await ctl('peer add near.example --json')).stdout), {
    address: 'near.example',
    resolved: '192.0.2.77',
  });
  t.strictSame(await ctl('peer del fe80::5%eth0'), { code: 0, stdout: '', stderr: '' });
  t.strictSame(await ctl('peer del near.example --json'), { code: 0, stdout: '{}\n', stderr: '' });
  t.equal(dataPlane.peers(100).length, 2);
  const json = JSON.parse((await ctl('--json peer list')).stdout);
  t.match(json, { items: [{ address: '192.0.2.11' }, { address: 'far.example' }], nextCursor: null });
});

t.test('FDB entries are shown, added, removed and flushed', async (t) => {
  const { ctl, dataPlane } = await daemon(t);
  t.strictSame(
    await ctl('fdb show'),
    { code: 0, stdout: '', stderr: '' },
    'an FDB without entries prints nothing',
  );
  t.strictSame(await ctl('fdb add 02-00-00-00-00-AA far.example'), { code: 0, stdout: '', stderr: '' });
  dataPlane.learn(100, '02:00:00:00:00:01', '192.0.2.11', 61_500);
  t.equal(
    (await ctl('fdb show')).stdout,
    [
      'MAC                PEER          TYPE     AGE',
      '02:00:00:00:00:aa  2001:db8::12  static   -',
      '02:00:00:00:00:01  192.0.2.11    dynamic  1m 1s',
      '',
    ].join('\n'),
  );
  t.match((await ctl('fdb show --type static')).stdout, /^MAC .*\n02:00:00:00:00:aa .*\n$/);
  t.match((await ctl('fdb show --peer 192.0.2.11')).stdout, /^MAC .*\n02:00:00:00:00:01 .*\n$/);

  for (let i = 0; i < 2500; i++) {
    dataPlane.learn(
      100,
      `06:00:00:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`,
      '192.0.2.11',
    );
  }
  const { items } = JSON.parse((await ctl('fdb show --json')).stdout);
  t.equal(items.length, 2502, 'all pages are read');

  t.strictSame(await ctl('fdb flush'), { code: 0, stdout: '2501 removed\n', stderr: '' });
  t.match((await ctl('fdb show')).stdout, /^MAC .*\n02:00:00:00:00:aa .*\n$/, 'the static entry is kept');
  t.strictSame(await ctl('fdb del 02:00:00:00:00:aa'), { code: 0, stdout: '', stderr: '' });
  t.strictSame(JSON.parse((await ctl('fdb flush --type all --json')).stdout), { removed: 0 });
});

t.test('counters prints traffic and nonzero drop reasons', async (t) => {
  const { ctl, dataPlane, server } = await daemon(t);
  const base = dataPlane.counters.vniBase(dataPlane.vnis()[0].vniIdx);
  dataPlane.counters.cells[base + V_TAP_RX_FRAMES] = 5;
  dataPlane.counters.cells[base + V_DROPS_ENCAP + DROP.no_route] = 5;
  const { code, stdout } = await ctl('counters');
  t.equal(code, 0);
  t.match(stdout, /^VNI 100 +COUNT {2}BYTES\ntap rx +5 +0\n/);
  t.match(stdout, /\n192\.0\.2\.11 tx +0 +0\n/);
  t.match(stdout, /\ndropped encap no_route +5 +-\n/);
  t.notMatch(stdout, /no_tx_target/, 'a drop reason with count 0 has no row');
  t.strictSame(
    JSON.parse((await ctl('counters --json')).stdout),
    (await server.inject('/v1/counters')).json(),
  );
});

t.test('probe prints the path MTU and compares it with the overlay MTU', async (t) => {
  const { ctl, server } = await daemon(t);
  steps.length = 0;
  t.strictSame(await ctl('probe 192.0.2.11'), {
    code: 1,
    stdout: [
      '192.0.2.11: path carries 1400; overlay MTU 1350 fits; this VNI has 1450: 100 bytes too large',
      '  exactly, by icmp, 9 packets',
      '',
    ].join('\n'),
    stderr: '',
  });
  t.same(steps, ['probing 192.0.2.11: 576 bytes arrived', ''], 'the progress line is shown and removed');
  t.strictSame(await ctl('probe far.example'), {
    code: 1,
    stdout: '2001:db8::12: unknown: no answer\n  icmp: no answer\n',
    stderr: '',
  });
  t.strictSame(await ctl('probe 192.0.2.99'), {
    code: 1,
    stdout: '',
    stderr: 'vtepctl: VNI 100 has no peer 192.0.2.99\n',
  });
  const response = await server.inject({ method: 'POST', url: '/v1/vnis/100/peers/192.0.2.11/probe' });
  t.strictSame(JSON.parse((await ctl('probe 192.0.2.11 --json')).stdout), response.json());
});

t.test('doctor prints one line per finding, and findings give exit status 1', async (t) => {
  const { ctl, findings } = await daemon(t);
  t.strictSame(await ctl('doctor'), { code: 0, stdout: 'nothing found\n', stderr: '' });
  findings.push(
    { code: 'firewall', what: 'it drops', why: 'nothing arrives', cure: 'nft insert rule' },
    { code: 'peer_duplicate', what: 'named twice', why: '', cure: '' },
  );
  t.strictSame(await ctl('doctor'), {
    code: 1,
    stdout: 'firewall: it drops; nothing arrives; nft insert rule\npeer_duplicate: named twice\n',
    stderr: '',
  });
  t.strictSame(JSON.parse((await ctl('doctor --json')).stdout), { items: findings });
});

t.test('notices follow the findings of the doctor and do not change its exit status', async (t) => {
  const { ctl, findings } = await daemon(t);
  findings.push({ notice: true, code: 'queues_unsteered', what: 'no program', why: 'w', cure: 'c' });
  t.strictSame(await ctl('doctor'), {
    code: 0,
    stdout: 'nothing found\nnotice queues_unsteered: no program; w; c\n',
    stderr: '',
  });
  t.match(JSON.parse((await ctl('doctor --json')).stdout), { items: [{ notice: true }] });
  findings.push({ code: 'firewall', what: 'it drops', why: 'w', cure: 'c' });
  t.strictSame(await ctl('doctor'), {
    code: 1,
    stdout: 'firewall: it drops; w; c\nnotice queues_unsteered: no program; w; c\n',
    stderr: '',
  });
});

t.test('ready prints all reasons against readiness, and they give exit status 1', async (t) => {
  const { ctl, reasons, server } = await daemon(t);
  t.strictSame(await ctl('ready'), { code: 0, stdout: 'ready\n', stderr: '' });
  t.strictSame(JSON.parse((await ctl('ready --json')).stdout), { status: 'ready' });
  reasons.push(
    { code: 'device_missing', detail: 'vtep100 is down' },
    { code: 'local_address_missing', detail: '192.0.2.10 is on no device' },
  );
  t.strictSame(await ctl('ready'), {
    code: 1,
    stdout: `not ready: device_missing: vtep100 is down
not ready: local_address_missing: 192.0.2.10 is on no device
`,
    stderr: '',
  });
  t.strictSame(JSON.parse((await ctl('ready --json')).stdout), (await server.inject('/readyz')).json());
  t.match(await run('ready', { VTEPCTL_API: 'unix:/nowhere/vtepd.sock' }), {
    code: 1,
    stdout: '',
    stderr: /^vtepctl: cannot reach vtepd/,
  });
});

t.test('doctor without a daemon checks only the machine', async (t) => {
  const { code, stdout } = await run('doctor', { VTEPCTL_API: 'unix:/nowhere/vtepd.sock' });
  t.equal(code, 1);
  t.match(
    stdout,
    /^not_running: cannot reach vtepd at unix:.*; start vtepd\nport_taken: vxlan100 holds it; vtepd cannot receive; ip link delete vxlan100\n$/,
  );
});

t.test('--api takes precedence over VTEPCTL_API, and may be a TCP address', async (t) => {
  const { server } = await controlOverPlainDataPlane();
  t.teardown(() => server.close());
  const place = (await listen(server, { kind: 'tcp', host: '127.0.0.1', port: 0 })).replace('http://', '');
  const { code, stderr } = await run(`status --api ${place}`, { VTEPCTL_API: 'unix:/nowhere' });
  t.equal(stderr, '');
  t.equal(code, 0);
});

t.test('--help and --version are supported', async (t) => {
  t.match(await run('--help'), { code: 0, stdout: /^Usage: vtepctl /, stderr: '' });
  t.match(await run('fdb --help'), { code: 0, stdout: /\bflush\b/ });
  t.match(await run('vni set --help'), { code: 0, stdout: /--mtu <auto\|N>/ });
  t.match((await run('--help')).stdout, /Exit status: 0 success; 1 /);
  t.notMatch((await run('--help')).stdout, /^ +complete /m, 'the hidden command is not shown');
  t.match(await run('--version'), { code: 0, stdout: /^\d+\.\d+\.\d+\n$/ });
});
