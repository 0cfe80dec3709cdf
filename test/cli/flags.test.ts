/**
 * Command line of vtepd: messages of invalid lines, then the precedence of flags, file and
 * defaults.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseCommandLine } from '../../src/cli/flags.js';
import { ConfigError } from '../../src/config/config-error.js';
import type { Settings } from '../../src/config/settings.js';

const parse = (line: string, terminal = false) => parseCommandLine(line.split(' ').filter(Boolean), terminal);

function settings(line: string, terminal = false): Settings {
  const parsed = parse(line, terminal);
  if (parsed.kind !== 'run') throw new Error('the command line does not run vtepd');
  return parsed.settings;
}

const UNSHARED_TAP =
  'VNIs 1 and 2 both use it, but VNIs cannot share a TAP device; omit it (each VNI gets vtep<VNI>) or give each VNI its own "tap:" in --config';

const refused: [string, string][] = [
  ['', '--vni ID is required (0 to 16777215), or a "vnis:" list in --config FILE'],
  ['--peer 192.0.2.1', '--vni ID is required (0 to 16777215), or a "vnis:" list in --config FILE'],
  ['--vni', '--vni: needs a value: <ID>'],
  ['--vni x', '--vni x: must be a whole number from 0 to 16777215'],
  ['--vni 16777216', '--vni 16777216: must be a whole number from 0 to 16777215'],
  ['--vni --peer', '--vni --peer: must be a whole number from 0 to 16777215'],
  ['--vni 1 --vni 1', '--vni 1: given twice; give each VNI once'],
  ['--vni 1 2', '2: not a flag; vtepd has no other arguments ("vtepd --help" lists the flags)'],
  ['--vni 1 --port 1 --port 2', '--port 2: given twice, first 1; give it once'],
  ['--vni 1 --config a --config b', '--config b: given twice, first a; give it once'],
  ['--vni 1 --agein 3', '--agein: unknown flag; did you mean "--ageing"?'],
  ['--vni 1 --tpa x', '--tpa: unknown flag; did you mean "--tap"?'],
  ...['--group', '--vlan-map', '--neigh-suppress']
    .concat('--on-miss', '--bum-rate', '--learn-port')
    .map((flag): [string, string] => [
      `--vni 1 ${flag} x`,
      `${flag}: unknown flag ("vtepd --help" lists the flags)`,
    ]),
  ['--vni 1 -x', '-x: unknown flag ("vtepd --help" lists the flags)'],
  [
    '--vni 1 --peer 192.0.2.1,remote-vni=3',
    '--peer 192.0.2.1,remote-vni=3: has an unknown option "remote-vni" (allowed: vni, port, flood, all)',
  ],
  [
    '--vni 1 --peer 192.0.2.1 --peer 192.0.2.1',
    '--peer 192.0.2.1: VNI 1 already has this peer; give it once',
  ],
  ['--vni 1 --peer 192.0.2.1,vni=2', '--peer 192.0.2.1,vni=2: VNI 2 is not configured; configured VNIs: 1'],
  [
    '--vni 1 --local 192.0.2.1 --local 192.0.2.2',
    '--local 192.0.2.2: second local IPv4 address, the first is 192.0.2.1; give one per address family',
  ],
  ['--vni 1 --local 0.0.0.0', '--local 0.0.0.0: must be a unicast address, not the unspecified address'],
  ['--vni 1 --vni 2 --tap a', `--tap a: ${UNSHARED_TAP}`],
  [
    '--vni 1 --vni 2 --mac 02:00:00:00:00:01',
    '--mac 02:00:00:00:00:01: VNIs 1 and 2 both use it, but two TAP devices cannot have the same MAC; omit it (each VNI gets its own) or give each VNI its own "mac:" in --config',
  ],
  [
    '--vni 1 --vni 2 --address 10.0.0.1/24',
    '--address 10.0.0.1/24: VNIs 1 and 2 both use it, but two TAP devices cannot have the same address; give each VNI its own "address:" in --config',
  ],
  ['--vni 1 --address 10.0.0.1/24 --address 10.0.0.1/24', '--address 10.0.0.1/24: given twice; give it once'],
  ['--vni 1 --tap br0 --bridge br0', '--bridge br0: is the TAP of VNI 1; name another bridge'],
  [
    '--vni 1 --bridge eth0 --underlay-dev eth0',
    '--bridge eth0: is the --underlay-dev; the overlay cannot run over itself',
  ],
  [
    '--vni 1 --tap eth0 --underlay-dev eth0',
    '--underlay-dev eth0: is the TAP of VNI 1; the overlay cannot run over itself',
  ],
  [
    '--vni 1 --source-ports 5000-5000',
    '--source-ports 5000-5000: a single source port must be the listening port; use 4789-4789, or a range of at least 64 ports',
  ],
  [
    '--vni 1 --port 8472 --source-ports 4789-4789',
    '--source-ports 4789-4789: a single source port must be the listening port; use 8472-8472, or a range of at least 64 ports',
  ],
  [
    '--vni 1 --source-ports 4789-4789 --df inherit',
    '--source-ports 4789-4789: --df inherit needs sockets with DF and without, a single source port has one setting; use --df set or unset, or a range of at least 128 ports',
  ],
  [
    '--vni 1 --source-ports 50000-50126 --df inherit',
    '--source-ports 50000-50126: --df inherit needs at least 128 source ports, 64 with DF and 64 without; use a wider range, or --df set or unset',
  ],
  [
    '--vni 1 --io dgram --underlay-dev eth0',
    '--underlay-dev eth0: --io dgram cannot bind to a device; use --io batch, or omit one of the two options',
  ],
  [
    '--vni 1 --io dgram --fwmark 0x7',
    '--fwmark 0x7: --io dgram cannot mark its packets; use --io batch, or omit one of the two options',
  ],
  [
    '--vni 1 --io dgram --udp-checksum off',
    '--udp-checksum off: --io dgram cannot send without UDP checksum; use --io batch, or omit one of the two options',
  ],
  [
    '--vni 1 --io dgram --workers 2',
    '--workers 2: --io dgram has one data-plane thread; use --io batch, or omit one of the two options',
  ],
  [
    '--vni 1 --io dgram --df inherit',
    '--df inherit: --io dgram uses one DF setting for all datagrams; use --io batch, or omit one of the two options',
  ],
  [
    '--vni 1 --io dgram --tos inherit',
    '--tos inherit: --io dgram cannot set the TOS of a datagram; use --io batch, or omit one of the two options',
  ],
  ['--vni 1 --df clear', '--df clear: must be "set", "unset" or "inherit"'],
  ['--vni 1 --ttl 0', '--ttl 0: must be a whole number from 1 to 255'],
  ['--vni 1 --mss-clamp 1360', '--mss-clamp 1360: must be "auto" or "off"'],
  ...['0', '17', '1.5', 'auto'].map((count): [string, string] => [
    `--vni 1 --workers ${count}`,
    `--workers ${count}: must be a whole number from 1 to 16`,
  ]),
  ['--vni 1 --io uring', '--io uring: must be "auto", "batch" or "dgram"'],
  ['--vni 1 --state /tmp/', '--state /tmp/: must be the path of a file, or "off"'],
  ['--vni 1 --api-token-file /etc/', '--api-token-file /etc/: must be the path of a file'],
  ...['9789', '127.0.0.1:0', 'here:9789', '[ff02::1]:9789', 'unix:/x'].map((place): [string, string] => [
    `--vni 1 --metrics ${place}`,
    `--metrics ${place}: must be an address and port, such as 127.0.0.1:9789 or [::]:9789`,
  ]),
  [
    '--vni 1 --api 0.0.0.0:8789',
    '--api 0.0.0.0:8789: not a loopback address, so the API needs a token: give --api-token-file, or use 127.0.0.1:PORT, [::1]:PORT, unix:PATH or "off"',
  ],
  ['--vni 1 --ageing -1', '--ageing -1: must be a whole number from 0 to 1000000'],
  ['--vni 1 --fdb-limit 0', '--fdb-limit 0: must be a whole number from 1 to 16777216'],
  [
    '--vni 1 --log-level loud',
    '--log-level loud: must be "fatal", "error", "warn", "info", "debug" or "trace"',
  ],
];

for (const [line, message] of refused) {
  t.test(`refused: vtepd ${line}`, async (t) => {
    const error = t.throws(() => parse(line), { message }) as Error;
    t.type(error, ConfigError);
  });
}

t.test('a message is one line without control characters', async (t) => {
  const rows: [string[], string][] = [
    [['--vni', '1\n2'], '--vni "1\\x0a2": must be a whole number from 0 to 16777215'],
    [
      ['--vni', '1', '--peer', 'a,\x1b[31m=1'],
      '--peer a,\\x1b[31m=1: has an unknown option "\\x1b[31m" (allowed: vni, port, flood, all)',
    ],
    [['--vni', '1', '--x\ny'], '--x\\x0ay: unknown flag ("vtepd --help" lists the flags)'],
  ];
  for (const [argv, message] of rows) t.throws(() => parseCommandLine(argv, false), { message });
});

t.test('a minimal command line has the defaults', async (t) => {
  t.strictSame(parse('--vni 100 --peer 192.168.80.11'), {
    kind: 'run',
    check: false,
    config: '',
    settings: {
      vnis: [
        {
          vni: 100,
          peers: [{ host: '192.168.80.11', port: 4789, flood: true }],
          tap: 'vtep100',
          bridge: '',
          addresses: [],
          mac: '',
          mtu: 'auto',
          learning: true,
          ageingS: 300,
          fdbLimit: 65536,
          flood: true,
          accept: 'peers',
          vlan: 'pass',
        },
      ],
      local: [],
      underlayDev: '',
      fwmark: 0,
      port: 4789,
      sourcePorts: { min: 49152, max: 65535 },
      df: 'set',
      ttl: 64,
      tos: 'inherit',
      mssClamp: 'auto',
      udpChecksum: true,
      kernelPath: 'auto',
      flowOffload: undefined,
      strictHeader: false,
      api: { kind: 'tcp', host: '127.0.0.1', port: 8789 },
      apiTokenFile: '',
      metrics: undefined,
      state: { path: '/var/lib/vtepd/state.json', named: false },
      io: 'auto',
      workers: 1,
      logLevel: 'info',
      logFormat: 'json',
    },
  });
  t.equal(settings('--vni 0', true).logFormat, 'pretty', 'the log format on a terminal is pretty');
});

t.test('a peer belongs to all VNIs or to the VNI of vni=', async (t) => {
  const { vnis } = settings(
    '--vni 1 --vni 2 --port 8472 --peer 192.0.2.1 --peer 192.0.2.2,vni=2,port=1,flood=off',
  );
  t.strictSame(
    vnis.map(({ peers }) => peers),
    [
      [{ host: '192.0.2.1', port: 8472, flood: true }],
      [
        { host: '192.0.2.1', port: 8472, flood: true },
        { host: '192.0.2.2', port: 1, flood: false },
      ],
    ],
  );
});

t.test('addresses of API and metrics, token file and state file are parsed', async (t) => {
  t.match(
    settings('--vni 1 --api [::]:80 --api-token-file /etc/token --metrics 0.0.0.0:9789 --state s.json'),
    {
      api: { kind: 'tcp', host: '::', port: 80 },
      apiTokenFile: '/etc/token',
      metrics: { host: '0.0.0.0', port: 9789 },
      state: { path: 's.json', named: true },
    },
  );
  t.strictSame(settings('--vni 1 --state off').state, { path: '', named: true });
});

t.test('the same peer may have different options in two VNIs', async (t) => {
  const { vnis } = settings('--vni 1 --vni 2 --peer 192.0.2.1,vni=1 --peer 192.0.2.1,vni=2,flood=off');
  t.strictSame(
    vnis.map(({ peers }) => peers.map(({ flood }) => flood)),
    [[true], [false]],
  );
});

t.test('flags take precedence over the file, and the file over defaults', async (t) => {
  const file = join(
    t.testdir({
      'v.yaml': `
        port: 8472
        ageing: 60
        learning: off
        address: 10.0.0.1/24
        peers: ["192.0.2.1,port=1", 192.0.2.2]
        vnis:
          - vni: 1
            ageing: 30
            mtu: 1400
      `,
    }),
    'v.yaml',
  );
  const of = (flags: string) => settings(`--config ${file} ${flags}`);
  const plain = of('').vnis[0];
  t.match(
    plain,
    { ageingS: 30, mtu: 1400, learning: false, flood: true },
    "a VNI's own setting takes precedence",
  );
  t.match(of('--ageing 10 --learning on --port 4789'), {
    port: 4789,
    vnis: [{ ageingS: 10, learning: true }],
  });
  t.strictSame(
    of('--address 10.0.0.2/24').vnis[0].addresses,
    ['10.0.0.2/24'],
    'addresses of the flags replace those of the file',
  );
  t.strictSame(
    of('--peer 192.0.2.1,flood=off --peer 192.0.2.3').vnis[0].peers,
    [
      { host: '192.0.2.1', port: 8472, flood: false },
      { host: '192.0.2.2', port: 8472, flood: true },
      { host: '192.0.2.3', port: 8472, flood: true },
    ],
    'peers of the flags are added and take precedence',
  );
  t.throws(() => of('--vni 2'), { message: /VNIs 1 and 2 both use it/ });
  t.strictSame(of('--vni 1').vnis.length, 1, 'a VNI of the file may be repeated as a flag');
});

t.test('VNIs of the flags are added to those of the file', async (t) => {
  const dir = t.testdir({ 'v.yaml': 'vnis: [{vni: 1, mtu: 1400}]\nageing: 60' });
  const { vnis } = settings(`--vni 2 --config ${dir}/v.yaml`);
  t.match(vnis, [
    { vni: 1, mtu: 1400, ageingS: 60 },
    { vni: 2, mtu: 'auto', ageingS: 60 },
  ]);
});

t.test('an invalid value in the file is refused even if a flag overrides it', async (t) => {
  const dir = t.testdir({ 'v.yaml': 'vnis: [{vni: 1, mtu: 20}]' });
  t.throws(() => settings(`--mtu 1400 --config ${dir}/v.yaml`), {
    message: /v\.yaml:1: vnis\[0\]\.mtu 20: must be/,
  });
});

t.test('an empty list of VNIs or an existing state file is enough to start', async (t) => {
  const dir = t.testdir({ 'v.yaml': 'vnis: []', 'state.json': '{}' });
  t.strictSame(settings(`--config ${dir}/v.yaml --state off`).vnis, []);
  t.strictSame(settings(`--state ${dir}/state.json`).vnis, []);
  t.throws(() => settings(`--state ${dir}/none.json`), { message: /^--vni ID is required/ });
  t.throws(() => settings(`--config ${dir}/v.yaml --peer 192.0.2.1,vni=3`), {
    message: '--peer 192.0.2.1,vni=3: VNI 3 is not configured; configured VNIs: none',
  });
});

t.test('--check, --version and --help are supported', async (t) => {
  t.match(parse('--vni 1 --check'), { kind: 'run', check: true });
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  t.strictSame(parse('--version'), { kind: 'print', text: `${version}\n` });
  const help = parse('--help');
  if (help.kind !== 'print') throw new Error('--help prints no text');
  for (const flag of [
    '--vni',
    '--peer',
    '--source-ports',
    '--fdb-limit',
    '--config',
    '--check',
    '--log-format',
  ]) {
    t.match(help.text, `${flag} `, `the help has ${flag}`);
  }
});
