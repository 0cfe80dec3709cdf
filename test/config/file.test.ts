/** YAML file: invalid files with the line and key in the message, then a complete valid file. */
import t from 'tap';
import { ConfigError } from '../../src/config/config-error.js';
import { parseConfig, readConfigFile } from '../../src/config/file.js';
import { mergeSettings } from '../../src/config/merge.js';

const settings = (text: string) => mergeSettings([parseConfig(text, 'v.yaml')], false);

const refused: [string, string, string | RegExp][] = [
  ['not YAML', 'vnis:\n  - vni: [1', /^v\.yaml:2: not valid YAML: /],
  ['tabs', 'vnis:\n\t- vni: 1', /^v\.yaml:2: not valid YAML: /],
  ['a key twice', 'port: 1\nport: 2', /^v\.yaml:2: not valid YAML: Map keys must be unique/],
  ['two documents', 'vnis: [{vni: 1}]\n---\nport: 1', /^v\.yaml:\d: not valid YAML: /],
  // Without the check, the YAML parser would abort the process.
  ['nested too deeply', '- '.repeat(50_000), /^v\.yaml:1: maps and lists are nested too deeply/],
  ['nested too deeply, in brackets', '['.repeat(50_000), /^v\.yaml:1: maps and lists are nested too deeply/],
  ['a list', '- vni: 1', 'v.yaml:1: the file: must be a map of "key: value" lines'],
  ['a word', 'hello', 'v.yaml:1: the file: must be a map of "key: value" lines'],
  ['unknown key', 'prot: 1', 'v.yaml:1: prot: unknown key; did you mean "port"?'],
  [
    'an unknown key without a similar one',
    'vnis:\n  - vni: 1\n    group: 239.1.1.1',
    'v.yaml:3: vnis[0].group: unknown key; known keys: vni, tap, bridge, address, mac, mtu, learning, ageing, fdbLimit, flood, accept, vlan, peers',
  ],
  ['a flag instead of a key', 'fdb-limit: 3', 'v.yaml:1: fdb-limit: unknown key; did you mean "fdbLimit"?'],
  [
    'a key for all VNIs in a single VNI',
    'vnis:\n  - vni: 1\n    port: 2',
    /^v\.yaml:3: vnis\[0\]\.port: unknown key/,
  ],
  ['no value', 'mtu:\nvnis: [{vni: 1}]', 'v.yaml:1: mtu: has no value'],
  ['no value, in a flow map', 'vnis: [{vni}]', 'v.yaml:1: vnis[0].vni: has no value'],
  ['a map instead of a value', 'mtu: {a: 1}', 'v.yaml:1: mtu: must be a single value'],
  ['a list for a single value', 'mtu: [1400]', 'v.yaml:1: mtu: must be a single value'],
  ['bad value', '\n\nmtu: 20', 'v.yaml:3: mtu 20: must be "auto" or a whole number from 68 to 65535'],
  ['octal', 'vnis:\n  - vni: 0100', 'v.yaml:2: vnis[0].vni 0100: must be a whole number from 0 to 16777215'],
  ['exponent', 'ageing: 3e2', 'v.yaml:1: ageing 3e2: must be a whole number from 0 to 1000000'],
  ['YAML 1.1 switch', 'flood: no', 'v.yaml:1: flood no: must be "on" or "off"'],
  [
    'empty text',
    'tap: ""',
    'v.yaml:1: tap "": must be an interface name: 1 to 15 bytes, no space, "/", ":" or "%"',
  ],
  [
    'vnis is not a list',
    'vnis: 100',
    'v.yaml:1: vnis: must be a list, each item on a line of its own after "- "',
  ],
  ['a VNI is not a map', 'vnis: [100]', 'v.yaml:1: vnis[0]: must be a map of "key: value" lines'],
  [
    'a VNI without number',
    'vnis:\n  - tap: a',
    'v.yaml:2: vnis[0]: has no "vni:"; give the VNI, 0 to 16777215',
  ],
  [
    'a VNI twice',
    'vnis:\n  - vni: 7\n  - vni: 7',
    'v.yaml:3: vnis[1].vni 7: given twice; give each VNI once',
  ],
  [
    'peers is not a list',
    'peers: 192.0.2.1',
    'v.yaml:1: peers: must be a list, each item on a line of its own after "- "',
  ],
  [
    'a multicast peer',
    'peers: [239.0.0.1]',
    'v.yaml:1: peers[0] 239.0.0.1: must be a unicast address, not a multicast group',
  ],
  [
    'an invalid port of a peer',
    'vnis:\n  - vni: 1\n    peers:\n      - {address: 192.0.2.1, port: 0}',
    'v.yaml:4: vnis[0].peers[0] 192.0.2.1: port=0 must be a whole number from 1 to 65535',
  ],
  [
    'a peer without address',
    'peers: [{port: 1}]',
    'v.yaml:1: peers[0]: has no "address:"; give the address or DNS name of the remote VTEP',
  ],
  [
    'an unknown key of a peer',
    'peers: [{addres: a}]',
    'v.yaml:1: peers[0].addres: unknown key; did you mean "address"?',
  ],
  [
    'a peer twice',
    'vnis:\n  - vni: 1\n    peers: [192.0.2.1, "192.0.2.1,port=1"]',
    'v.yaml:3: vnis[0].peers[1] 192.0.2.1,port=1: VNI 1 already has this peer; give it once',
  ],
  [
    'a peer of all VNIs repeated in one VNI',
    'peers: [2001:db8::1]\nvnis:\n  - vni: 1\n    peers: ["2001:DB8::0001"]',
    'v.yaml:4: vnis[0].peers[0] 2001:DB8::0001: VNI 1 already has this peer; give it once',
  ],
  [
    'a peer of a VNI that is not configured',
    'peers: ["192.0.2.1,vni=2"]\nvnis: [{vni: 1}]',
    'v.yaml:1: peers[0] 192.0.2.1,vni=2: VNI 2 is not configured; configured VNIs: 1',
  ],
  [
    'an address twice',
    'vnis:\n  - vni: 1\n    address:\n      - 10.0.0.1/24\n      - 10.0.0.1/24',
    'v.yaml:5: vnis[0].address[1] 10.0.0.1/24: given twice; give it once',
  ],
  [
    'the same MAC in two VNIs',
    'vnis:\n  - {vni: 1, mac: "02:00:00:00:00:01"}\n  - {vni: 2, mac: "02-00-00-00-00-01"}',
    'v.yaml:3: vnis[1].mac 02-00-00-00-00-01: VNIs 1 and 2 both use it, but two TAP devices cannot have the same MAC; omit it (each VNI gets its own) or give each VNI its own "mac:" in --config',
  ],
  [
    'a TAP with the default name of another VNI',
    'vnis:\n  - {vni: 1, tap: vtep2}\n  - {vni: 2}',
    '--tap vtep2: VNIs 1 and 2 both use it; give each VNI its own "tap:" in --config',
  ],
  [
    'a bridge that is a TAP',
    'vnis:\n  - {vni: 1, tap: br0}\n  - {vni: 2, bridge: br0}',
    'v.yaml:3: vnis[1].bridge br0: is the TAP of VNI 1; name another bridge',
  ],
  [
    'a directory as state file',
    'state: /var/lib/',
    'v.yaml:1: state /var/lib/: must be the path of a file, or "off"',
  ],
];

for (const [name, text, message] of refused) {
  t.test(`refused: ${name}`, async (t) => {
    const expected = typeof message === 'string' ? { message } : { message, name: 'Error' };
    const error = t.throws(() => settings(text), expected) as Error;
    t.type(error, ConfigError);
    t.notMatch(error.message, /\n/, 'the message is one line');
  });
}

t.test('an unreadable file is refused with its path', async (t) => {
  const dir = t.testdir();
  t.throws(() => readConfigFile(`${dir}/none.yaml`), {
    message: `--config ${dir}/none.yaml: cannot be read (ENOENT: no such file or directory); name a readable YAML file`,
  });
  t.throws(() => readConfigFile(dir), {
    message: /cannot be read \(EISDIR: .*\); name a readable YAML file$/,
  });
});

t.test('a complete file is read', async (t) => {
  const made = settings(`
    port: 8472
    local: [192.0.2.10, 2001:db8::10]
    underlayDev: eth1
    fwmark: 0x10
    sourcePorts: 50000-50199
    df: inherit
    ttl: 9
    tos: 184
    mssClamp: off
    udpChecksum: off
    kernelPath: on
    strictHeader: true
    api: unix:/run/vtepd.sock
    state: off
    io: batch
    workers: 4
    logLevel: debug
    logFormat: json
    mtu: 1450                       # for VNIs without their own
    ageing: 60
    bridge: br-vxlan                # VNIs may share a bridge
    peers: [192.0.2.11]
    vnis:
      - vni: 100
        tap: vxlan100
        address: 10.0.0.1/24
        mac: 02:00:00:00:00:01
        learning: off
        fdbLimit: 1000
        peers:
          - 2001:db8::12,flood=off
          - { address: far.example, port: 4789, flood: off }
      - vni: 200
        mtu: auto
        ageing: 0
        accept: any
        vlan: strip
        flood: "off"
        address: [10.0.1.1/24, 2001:db8:1::1/64]
  `);
  const { local, ...rest } = made;
  t.strictSame(
    local.map(({ text }) => text),
    ['192.0.2.10', '2001:db8::10'],
  );
  t.strictSame(rest, {
    vnis: [
      {
        vni: 100,
        peers: [
          { host: '192.0.2.11', port: 8472, flood: true },
          { host: '2001:db8::12', port: 8472, flood: false },
          { host: 'far.example', port: 4789, flood: false },
        ],
        tap: 'vxlan100',
        bridge: 'br-vxlan',
        addresses: ['10.0.0.1/24'],
        mac: '02:00:00:00:00:01',
        mtu: 1450,
        learning: false,
        ageingS: 60,
        fdbLimit: 1000,
        flood: true,
        accept: 'peers',
        vlan: 'pass',
      },
      {
        vni: 200,
        peers: [{ host: '192.0.2.11', port: 8472, flood: true }],
        tap: 'vtep200',
        bridge: 'br-vxlan',
        addresses: ['10.0.1.1/24', '2001:db8:1::1/64'],
        mac: '',
        mtu: 'auto',
        learning: true,
        ageingS: 0,
        fdbLimit: 65536,
        flood: false,
        accept: 'any',
        vlan: 'strip',
      },
    ],
    underlayDev: 'eth1',
    fwmark: 16,
    port: 8472,
    sourcePorts: { min: 50000, max: 50199 },
    df: 'inherit',
    ttl: 9,
    tos: 184,
    mssClamp: 'off',
    udpChecksum: false,
    kernelPath: 'on',
    flowOffload: undefined,
    strictHeader: true,
    api: { kind: 'unix', path: '/run/vtepd.sock' },
    apiTokenFile: '',
    metrics: undefined,
    state: { path: '', named: true },
    io: 'batch',
    workers: 4,
    logLevel: 'debug',
    logFormat: 'json',
  });
  t.ok(Object.isFrozen(made.vnis[0].peers[0]), 'nested objects are frozen too');
});

t.test('a file may omit the list of VNIs, or have an empty one', async (t) => {
  t.strictSame(settings('').vnis, []);
  t.notOk(parseConfig('port: 4789', 'v.yaml').listsVnis);
  t.ok(parseConfig('vnis: []', 'v.yaml').listsVnis);
});

t.test('anchors and aliases are resolved', async (t) => {
  const made = settings('peers: [&hub 192.0.2.1]\nvnis: [{vni: 1, mtu: &m 1400}, {vni: 2, mtu: *m}]');
  t.equal(made.vnis[1].mtu, 1400);
  t.throws(() => settings('mtu: *none'), { message: /^v\.yaml:1: / });
});

t.test('VNIs with the same peers share a list, and a peer that is given once is one object', async (t) => {
  const { vnis } = settings(`
peers: [192.0.2.1]
vnis:
  - vni: 1
  - vni: 2
  - vni: 3
    peers: [192.0.2.9]
`);
  const hosts = vnis.map(({ peers }) => peers.map(({ host }) => host));
  t.same(hosts, [['192.0.2.1'], ['192.0.2.1'], ['192.0.2.1', '192.0.2.9']]);
  t.equal(vnis[1].peers, vnis[0].peers);
  t.not(vnis[2].peers, vnis[0].peers);
  t.equal(vnis[2].peers[0], vnis[0].peers[0]);
  t.ok(Object.isFrozen(vnis[2].peers[1]));
});
