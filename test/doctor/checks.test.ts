/** Each check runs on a healthy machine and daemon first, then on the fault that it detects. */
import t from 'tap';
import {
  checkBridgeMtu,
  checkChecksums,
  checkConntrack,
  checkFromOverlay,
  checkNotices,
  checkPortMix,
  checkRpFilter,
  checkSilentPeers,
  checkStrangers,
  checkStrayVni,
  checkUnsendable,
  checkWarnings,
} from '../../src/doctor/checks.js';
import { judgeAll } from '../../src/doctor/doctor.js';
import type { DaemonFacts, MachineFacts, VniFacts } from '../../src/doctor/facts.js';
import { counterIn, rulesetIn } from '../../src/doctor/machine.js';
import { makeLink } from '../support/machine.js';

const [BRIDGE, OTHER] = [10, 11];

const MACHINE: MachineFacts = {
  links: [
    makeLink({ name: 'eth0', index: 2 }),
    makeLink({ name: 'br-vxlan', index: BRIDGE, kind: 'bridge' }),
    makeLink({ name: 'br-other', index: OTHER, kind: 'bridge' }),
    makeLink({ name: 'vtep100', index: 3, master: BRIDGE }),
    makeLink({ name: 'to-vm1', index: 4, master: BRIDGE }),
    makeLink({ name: 'to-vm2', index: 5, master: OTHER, mtu: 1400 }),
  ],
  ruleset: [],
  rpFilter: new Map([
    ['all', 0],
    ['eth0', 1],
    ['eth1', 2],
  ]),
  rpFilterDrops: 0,
  udpChecksumErrors: 0,
  obedience: new Map(),
  conntrack: { entries: 100, max: 262144, ofPort: 64 },
};

const VNI: VniFacts = {
  vni: 100,
  tap: 'vtep100',
  unsendable: 0,
  fromStrangers: 0,
  peers: [{ address: '192.0.2.1', txFrames: 10, received: true }],
};

const DAEMON: DaemonFacts = {
  port: 4789,
  uptimeS: 3600,
  underlayDevices: ['eth0'],
  stackDevices: [{ name: 'br-vxlan', isOurs: true }],
  warnings: [],
  notices: [],
  vnis: [VNI],
  fromOverlay: 0,
  strayFrames: 0,
  strayVni: -1,
};

const silent = {
  ...DAEMON,
  vnis: [{ ...VNI, peers: [{ address: '192.0.2.1', txFrames: 10, received: false }] }],
};

t.test('finds nothing on a healthy machine', async (t) => {
  t.same(judgeAll(MACHINE, DAEMON), []);
});

t.test('every finding has fact, consequence and remedy, each in one line', async (t) => {
  const machine: MachineFacts = {
    ...MACHINE,
    links: [
      ...MACHINE.links,
      makeLink({ name: 'to-vm3', index: 6, master: BRIDGE, mtu: 1400 }),
      makeLink({ name: 'flannel.1', index: 7, kind: 'vxlan', vxlanPort: 8472 }),
    ],
    rpFilterDrops: 12,
    udpChecksumErrors: 3,
    conntrack: { entries: 130_000, max: 262144, ofPort: 70_000 },
  };
  const daemon = {
    ...silent,
    vnis: [{ ...silent.vnis[0], unsendable: 5, fromStrangers: 6 }],
    fromOverlay: 2,
    strayFrames: 7,
    strayVni: 200,
  };
  const found = judgeAll(machine, daemon);
  t.same(
    found.map(({ code }) => code),
    [
      'no_route',
      'peer_silent',
      'vni_not_found',
      'source_not_peer',
      'from_overlay',
      'bridge_mtu',
      'rp_filter',
      'conntrack',
      'udp_checksum',
      'port_mixup',
    ],
  );
  for (const { code, what, why, cure } of found)
    for (const part of [what, why, cure]) t.match(part, /^[^\n]+$/, `${code}: ${part}`);
});

t.test('returns the warnings of the daemon as findings, and notices marked as such', async (t) => {
  const texts = { why: 'both are one peer', cure: 'remove one' };
  const warnings = [{ code: 'peer_duplicate', detail: 'named twice', ...texts } as const];
  const notices = [{ code: 'queues_unsteered', detail: 'no program', ...texts } as const];
  const facts = { ...DAEMON, warnings, notices };
  t.strictSame(checkWarnings(facts), [{ code: 'peer_duplicate', what: 'named twice', ...texts }]);
  t.strictSame(checkNotices(facts), [
    { notice: true, code: 'queues_unsteered', what: 'no program', ...texts },
  ]);
});

t.test('finds a peer from which no frame was received', async (t) => {
  t.same(
    checkSilentPeers({ ...silent, uptimeS: 5 }),
    [],
    'a daemon that has just started has no silent peer',
  );
  const unused = { ...VNI, peers: [{ address: '192.0.2.1', txFrames: 0, received: false }] };
  t.same(
    checkSilentPeers({ ...DAEMON, vnis: [unused] }),
    [],
    'a peer to which no frame was sent is not silent',
  );
  t.match(checkSilentPeers(silent), [
    {
      what: 'VNI 100: 10 frames were sent to 192.0.2.1, and none was ever received from it',
      why: /vtepd uses 4789; 8472 is also common/,
      cure: /^vtepctl probe 192\.0\.2\.1 --vni 100;/,
    },
  ]);
  t.match(checkSilentPeers({ ...silent, port: 8472 }), [{ why: /vtepd uses 8472; 4789 is also common/ }]);
});

t.test('finds frames that could not be sent', async (t) => {
  const peers = [{ address: 'fe80::1%eth0', txFrames: 0, received: false }];
  t.match(checkUnsendable({ ...DAEMON, vnis: [{ ...VNI, unsendable: 3, peers }] }), [
    { what: 'VNI 100: 3 frames could not be sent to a peer', cure: 'ip route get fe80::1' },
  ]);
});

t.test('finds frames from strangers and of unconfigured VNIs', async (t) => {
  t.match(checkStrangers({ ...DAEMON, vnis: [{ ...VNI, fromStrangers: 4 }] }), [
    { what: /^VNI 100: 4 frames/ },
  ]);
  t.match(checkStrayVni({ ...DAEMON, strayFrames: 4, strayVni: 0 }), [
    {
      what: '4 frames were received for VNIs that are not configured, the last for VNI 0 (configured: 100)',
      cure: /^vtepctl vni add 0,/,
    },
  ]);
  t.match(checkStrayVni({ ...DAEMON, strayFrames: 4 }), [{ cure: 'vtepctl vni add ID' }]);
});

t.test('finds VXLAN that arrives by the overlay', async (t) => {
  t.match(checkFromOverlay({ ...DAEMON, fromOverlay: 3 }), [
    { what: /^3 datagrams of VXLAN/, cure: /^tcpdump -e -n -i br-vxlan udp port 4789 shows/ },
  ]);
});

t.test('finds bridge ports with different MTUs, in bridges of vtepd only', async (t) => {
  const narrow = makeLink({ name: 'to-vm3', index: 6, master: BRIDGE, mtu: 1400 });
  const [, bridge, , , toVm] = MACHINE.links;
  t.match(checkBridgeMtu({ ...MACHINE, links: [...MACHINE.links, narrow] }, DAEMON), [
    {
      what: 'to-vm3 in br-vxlan has MTU 1400, others have 1500',
      cure: 'ip link set dev to-vm3 mtu 1500',
    },
  ]);
  const narrowTap = [bridge, makeLink({ name: 'vtep100', index: 3, master: BRIDGE, mtu: 1400 }), toVm];
  t.match(checkBridgeMtu({ ...MACHINE, links: narrowTap }, DAEMON), [{ what: /^vtep100 in br-vxlan/ }]);
  const wideTap = [bridge, makeLink({ name: 'vtep100', index: 3, master: BRIDGE, mtu: 9000 }), toVm];
  t.same(checkBridgeMtu({ ...MACHINE, links: wideTap }, DAEMON), [], 'a TAP of vtepd may be wider');
  const twice = { ...DAEMON, vnis: [VNI, { ...VNI, vni: 200 }] };
  t.equal(
    checkBridgeMtu({ ...MACHINE, links: [...MACHINE.links, narrow] }, twice).length,
    1,
    'a bridge of two VNIs is reported once',
  );
});

t.test('finds a strict rp_filter that has dropped packets', async (t) => {
  const dropped = { ...MACHINE, rpFilterDrops: 5 };
  t.match(checkRpFilter(dropped, DAEMON), [{ cure: 'sysctl -w net.ipv4.conf.eth0.rp_filter=2' }]);
  t.same(
    checkRpFilter(dropped, { ...DAEMON, underlayDevices: ['eth1'] }),
    [],
    'a loose rp_filter is not a finding',
  );
  const all = new Map([['all', 1]]);
  t.equal(
    checkRpFilter({ ...dropped, rpFilter: all }, DAEMON).length,
    1,
    'the setting `all` applies to every device',
  );
  const loose = new Map([
    ['all', 2],
    ['eth0', 1],
  ]);
  t.same(
    checkRpFilter({ ...dropped, rpFilter: loose }, DAEMON),
    [],
    'the larger of the settings of `all` and device applies',
  );
});

t.test('finds a connection table that UDP 4789 fills', async (t) => {
  const rows: [number, number, number, number][] = [
    [1000, 262144, 64, 0],
    [250_000, 262144, 64, 0], // full of other connections
    [240_000, 262144, 60_000, 1],
    [66_000, 262144, 65_536, 1],
  ];
  for (const [entries, max, ofPort, findings] of rows) {
    const found = checkConntrack({ ...MACHINE, conntrack: { entries, max, ofPort } }, 4789);
    t.equal(found.length, findings, `${ofPort} of ${entries} of ${max}`);
  }
  t.same(checkConntrack({ ...MACHINE, conntrack: undefined }, 4789), []);
});

t.test('finds wrong UDP checksums', async (t) => {
  t.match(checkChecksums({ ...MACHINE, udpChecksumErrors: 2 }, DAEMON), [{ cure: /ethtool -K eth0 / }]);
});

t.test('finds kernel VXLAN devices on the other common port', async (t) => {
  const vxlan = (vxlanPort: number) => makeLink({ name: 'vxlan7', kind: 'vxlan', vxlanPort });
  t.same(checkPortMix({ ...MACHINE, links: [vxlan(4789)] }, 4789), []);
  t.same(checkPortMix({ ...MACHINE, links: [vxlan(4799)] }, 4789), [], 'an unusual port is intended');
  t.match(checkPortMix({ ...MACHINE, links: [vxlan(8472)] }, 4789), [
    { what: 'vxlan7 (kernel vxlan) is on UDP 8472, vtepd on 4789' },
  ]);
});

t.test('reads counters of /proc/net', async (t) => {
  const snmp =
    'Udp: InDatagrams NoPorts InCsumErrors\nUdp: 10 2 3\nUdpLite: InDatagrams InCsumErrors\nUdpLite: 0 9\n';
  t.equal(counterIn(snmp, 'Udp', 'InCsumErrors'), 3);
  t.equal(counterIn(snmp, 'Udp', 'Nothing'), 0);
  t.equal(counterIn('', 'Udp', 'InCsumErrors'), 0);
  t.equal(counterIn('Udp: InCsumErrors\n', 'Udp', 'InCsumErrors'), 0, 'a group without values gives 0');
});

t.test('invalid output of nft is an empty ruleset', async (t) => {
  for (const json of ['', 'no such command', '{}', '{"nftables":3}', 'null'])
    t.same(rulesetIn(json), [], json);
});
