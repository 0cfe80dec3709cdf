/**
 * Rules of the host against the shortcuts of the kernel (`--kernel-path`).
 *
 * Rules come and go during a TCP transfer: a shortcut that would pass a rule by ends within a
 * second, its notice names the rule, and it returns when the rule is gone.
 *
 *     vm101 ── br-vxlan ── vtep100 ── vtepd ── near eth0 ═ veth ═ eth0 far ── vxlan100 ── vm105
 *                                            rules here
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Report } from '../../src/exchange/report.js';
import { stockRuleset } from '../host/rules/judge.js';
import { createLab, UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { assertOffload, assertTransferDuring } from '../support/offload.js';
import { capture } from '../support/pcap.js';
import { assertPing, assertTransfer } from '../support/traffic.js';
import { FAR, FAR_VM, NEAR, offloadsOf, twoHosts } from '../support/two-hosts.js';
import type { Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const SUPERFRAMES = 'UDP_TUNNEL_GSO';
const FLOWS = 'TCX_FLOWS';
/**
 * Time limit for a shortcut to end after a rule was added, ms. Within a second is what is promised
 * for a machine with an idle processor; here a transfer uses all of them.
 */
const OFF_MS = 3000;
const SOME_BYTES = 20 << 20;
const TRANSLATED = '192.168.80.9';

/** Rules in an own table, which is deleted again; what the notice says of them. */
const AGAINST_BOTH: readonly [string, string, RegExp][] = [
  [
    'snat',
    chain('ip', 'type nat hook postrouting priority 100', `udp dport 4789 snat to ${TRANSLATED}`),
    /snat to/,
  ],
  [
    'mark',
    chain('ip', 'type route hook output priority -150', 'udp dport 4789 meta mark set 7'),
    /meta mark set 7/,
  ],
  ['accounting', chain('ip', 'type filter hook output priority 0', 'udp dport 4789 counter'), /counter/],
  ['DSCP', chain('ip', 'type filter hook output priority -150', 'udp dport 4789 ip dscp set ef'), /dscp/],
  [
    'limit',
    chain('ip', 'type filter hook output priority 0', 'limit rate 900000/second accept'),
    /chain ip lab c/,
  ],
  ['log', chain('ip', 'type filter hook output priority 0', `ip daddr ${FAR} log prefix "vxlan"`), /log/],
  [
    'inet table',
    chain('inet', 'type filter hook postrouting priority 0', 'udp dport 4789 counter'),
    /chain inet lab c/,
  ],
  [
    'egress of the device',
    chain('netdev', `type filter hook egress device ${UNDERLAY_DEV} priority 0`, 'udp dport 4789 counter'),
    /chain netdev lab c/,
  ],
];

const HARMLESS: readonly [string, string][] = [
  [
    'policy drop of output, lifted for all datagrams',
    chain('ip', 'type filter hook output priority 0; policy drop', 'counter accept'),
  ],
  ['an anonymous counter', chain('ip', 'type filter hook output priority 0', 'counter')],
  [
    'NAT of another port',
    chain('ip', 'type nat hook postrouting priority 100', `udp dport 53 snat to ${TRANSLATED}`),
  ],
  ['log of TCP', chain('ip', 'type filter hook output priority 0', 'meta l4proto tcp log')],
];

t.test('rules that come and go during a transfer end and restore both shortcuts', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { near, vtepd } = hosts;
  await near.ip(`address add ${TRANSLATED}/24 dev ${UNDERLAY_DEV}`);
  await assertInUse(t, vtepd, 'by default');
  await assertTransferDuring(t, hosts, FLOWS, async () => {
    for (const [name, rules, says] of AGAINST_BOTH) {
      const family = /table (\S+)/.exec(rules)![1];
      await nft(near, rules);
      const sinceMs = performance.now();
      await eventually(
        `${name}: both shortcuts to end`,
        async () => !(await offloadsOf(vtepd)).some((offload) => [SUPERFRAMES, FLOWS].includes(offload)),
        OFF_MS,
      );
      t.pass(`${name}: off after ${Math.round(performance.now() - sinceMs)} ms`);
      const notices = await eventually(`${name}: the notice`, async () => noticesOf(vtepd));
      t.match(notices, [{ code: 'kernel_path_off', detail: says, cure: /4789/ }], name);
      t.equal(notices.length, 1, `${name}: one notice for both shortcuts`);
      await nft(near, `delete table ${family} lab`);
      await assertInUse(t, vtepd, `${name} removed`);
    }
    t.equal(await noticesOf(vtepd), undefined, 'no notice is left');
  });
});

t.test('ping and TCP obey a translation of addresses', async (t) => {
  const { lab, near, far, vm101, vm105, vtepd } = await twoHosts(t, 'batch');
  await near.ip(`address add ${TRANSLATED}/24 dev ${UNDERLAY_DEV}`);
  await assertPing(t, vm101, FAR_VM);
  await nft(near, AGAINST_BOTH[0][1]);
  await assertOffload(t, vtepd, SUPERFRAMES, false, 'snat');
  const wire = await capture(far, UNDERLAY_DEV, lab.dir, `udp dst port 4789 and src host ${NEAR}`);
  await assertPing(t, vm101, FAR_VM);
  await assertTransfer(t, vm101, vm105, FAR_VM, SOME_BYTES);
  t.same((await wire.stop()).length, 0, 'no datagram has the address that the rule replaces');
  await nft(near, 'delete table ip lab');
  await assertInUse(t, vtepd, 'rule removed');
  assertIdentity(t, await vtepd.metrics());
});

t.test('rules that do nothing to VXLAN leave both shortcuts in use', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { near, vtepd } = hosts;
  for (const [name, rules] of HARMLESS) {
    await nft(near, rules);
    await assertRead(t, near, vtepd);
    await assertInUse(t, vtepd, name);
    t.equal(await noticesOf(vtepd), undefined, name);
    await nft(near, 'delete table ip lab');
  }
});

t.test('beside the rules of Docker, superframes leave whole', async (t) => {
  const { lab, near, vm101, vm105, vtepd } = await twoHosts(t, 'batch');
  const file = join(lab.dir, 'docker.json');
  writeFileSync(file, dockerRules());
  await near.run(['nft', '-j', '-f', file]);
  await assertRead(t, near, vtepd);
  await assertOffload(t, vtepd, SUPERFRAMES, true, 'Docker');
  await assertTransfer(t, vm101, vm105, FAR_VM, SOME_BYTES);
});

t.test('a rule for received datagrams stands against flows alone', async (t) => {
  const { near, vtepd } = await twoHosts(t, 'batch');
  await assertInUse(t, vtepd, 'by default');
  await nft(near, chain('ip', 'type filter hook input priority 0', `ip saddr ${FAR} counter`));
  await assertOffload(t, vtepd, FLOWS, false, 'a counter of input');
  t.same(await inUse(vtepd), [SUPERFRAMES]);
  t.match(await eventually('the notice', () => noticesOf(vtepd)), [
    { code: 'kernel_path_off', detail: /every frame of a TCP flow goes through user space: rule .*ip lab c/ },
  ]);
  await nft(near, 'delete table ip lab');
  await assertInUse(t, vtepd, 'rule removed');
});

t.test('rules of policy routing', async (t) => {
  const { near, vtepd } = await twoHosts(t, 'batch');
  await assertInUse(t, vtepd, 'by default');
  for (const rule of ['uidrange 0-0 lookup main', `from ${NEAR} lookup main`]) {
    await near.ip(`rule add priority 100 ${rule}`);
    await assertOffload(t, vtepd, SUPERFRAMES, false, rule);
    t.match(await eventually('the notice', () => noticesOf(vtepd)), [{ detail: /ip rule 100 \(/ }]);
    await near.ip('rule del priority 100');
    await assertInUse(t, vtepd, `${rule} removed`);
  }
  await near.ip('rule add priority 100 fwmark 7 lookup main');
  await near.ip('rule add priority 101 to 192.0.2.0/24 uidrange 0-0 lookup main');
  await assertRead(t, near, vtepd);
  t.same(await inUse(vtepd), [SUPERFRAMES, FLOWS], 'rules for other packets');
});

t.test('tables of legacy iptables', async (t) => {
  const { near, vtepd } = await twoHosts(t, 'batch');
  await assertInUse(t, vtepd, 'by default');
  await near.run(['python3', '-c', LEGACY_FILTER]);
  await assertOffload(t, vtepd, SUPERFRAMES, false, 'legacy iptables');
  t.match(await eventually('the notice', () => noticesOf(vtepd)), [{ detail: /legacy iptables.*ip filter/ }]);
});

t.test('on: used whatever the rules are; off: never', async (t) => {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  await nft(near, AGAINST_BOTH[2][1]);
  const on = await lab.vtepd(near, `--vni 100 --peer ${FAR} --kernel-path on`);
  await assertInUse(t, on, 'on');
  t.equal(await noticesOf(on), undefined);
  await near.run(`ethtool -K ${UNDERLAY_DEV} tx-udp_tnl-segmentation off`);
  await assertOffload(t, on, SUPERFRAMES, false, 'the device cannot');
  const { warnings } = await reportsOf(on);
  t.match(warnings, [{ code: 'kernel_path_unused', detail: /eth0 does not cut up/ }]);
  t.equal(warnings.length, 1, 'not twice');
  await on.stop();
  const off = await lab.vtepd(far, `--vni 100 --peer ${NEAR} --kernel-path off`);
  t.same(await inUse(off), []);
  t.same(await reportsOf(off), { warnings: [], notices: [] });
  t.notOk((await far.devices()).includes('vtgso4789'), 'no outer TAP');
  await off.stop();
});

t.test('--flow-offload is deprecated', async (t) => {
  const lab = createLab(t);
  const { near } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  const vtepd = await lab.vtepd(near, `--vni 100 --peer ${FAR} --flow-offload on`);
  await assertInUse(t, vtepd, 'on');
  t.match(await reportsOf(vtepd), { warnings: [], notices: [{ code: 'deprecated_option' }] });
  t.equal(vtepd.log().match(/--flow-offload/g)?.length, 1, 'one line of the log');
});

function chain(family: string, hook: string, rule: string): string {
  return `table ${family} lab { chain c { ${hook}; ${rule}; }; }`;
}

async function nft(host: Namespace, rules: string): Promise<void> {
  await host.run('nft -f -', { input: `${rules}\n` });
}

/** @returns undefined: none */
async function noticesOf(vtepd: Vtepd): Promise<Report[] | undefined> {
  const { notices } = await reportsOf(vtepd);
  return notices.length === 0 ? undefined : notices;
}

async function reportsOf(vtepd: Vtepd): Promise<{ warnings: Report[]; notices: Report[] }> {
  const { warnings, notices } = (await vtepd.get<{ warnings: Report[]; notices: Report[] }>('/v1/status'))
    .body;
  return { warnings, notices };
}

async function inUse(vtepd: Vtepd): Promise<string[]> {
  return (await offloadsOf(vtepd)).filter((name) => [SUPERFRAMES, FLOWS].includes(name));
}

async function assertInUse(t: Test, vtepd: Vtepd, why: string): Promise<void> {
  for (const name of [SUPERFRAMES, FLOWS] as const) await assertOffload(t, vtepd, name, true, why);
}

/** Waits until vtepd has read the rules: a rule that counts, added later, has ended superframes. */
async function assertRead(t: Test, host: Namespace, vtepd: Vtepd): Promise<void> {
  await nft(
    host,
    'table ip marker { chain c { type filter hook output priority 0; udp dport 4789 counter; }; }',
  );
  await assertOffload(t, vtepd, SUPERFRAMES, false, 'a rule that counts');
  await nft(host, 'delete table ip marker');
  await assertInUseAgain(vtepd);
}

async function assertInUseAgain(vtepd: Vtepd): Promise<void> {
  await eventually(
    'the notice to end',
    async () => !(await noticesOf(vtepd))?.some(({ detail }) => /marker c/.test(detail)),
  );
  await eventually('superframes to be used', async () => (await inUse(vtepd)).includes(SUPERFRAMES));
}

/** The recorded rules, with statements of nft in place of extensions of iptables. */
function dockerRules(): string {
  const nftables = stockRuleset('docker').map((element) =>
    JSON.parse(
      JSON.stringify(element, (_key, value) => {
        switch (value?.xt?.name) {
          case 'addrtype':
            return {
              match: { op: '==', left: { fib: { result: 'type', flags: ['daddr'] } }, right: 'local' },
            };
          case 'conntrack':
            return { match: { op: 'in', left: { ct: { key: 'state' } }, right: ['established', 'related'] } };
          case 'DNAT':
            return { dnat: { addr: '172.17.0.2', port: 80 } };
          case 'MASQUERADE':
            return { masquerade: null };
          default:
            return value;
        }
      }),
    ),
  );
  return JSON.stringify({ nftables });
}

/** IPT_SO_GET_INFO makes the table filter, as `iptables-legacy --list` does. */
const LEGACY_FILTER = `
import ctypes, socket
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
info = ctypes.create_string_buffer(b'filter', 84)
size = ctypes.c_uint32(84)
libc = ctypes.CDLL(None, use_errno=True)
if libc.getsockopt(s.fileno(), 0, 64, info, ctypes.byref(size)) != 0:
    raise OSError(ctypes.get_errno(), 'getsockopt')
`;
