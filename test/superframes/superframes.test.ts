/** Control of superframes, over parts that only record calls. */
import { pino } from 'pino';
import t from 'tap';
import type { Handle } from '../../src/controller/handle.js';
import { Offloads } from '../../src/exchange/offloads.js';
import type { ReportCode } from '../../src/exchange/report.js';
import type { Paths } from '../../src/paths/paths.js';
import type { Against, KernelPath, PathTraffic } from '../../src/superframes/kernel-path.js';
import { Superframes } from '../../src/superframes/superframes.js';
import type { TunnelFinding, TunnelOffload, Unused } from '../../src/superframes/tunnel-offload.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';

const RULE: Against = { why: 'rule 7 would not apply to them', cure: 'remove it' };
const FOUND = {
  tunnel: { local: Uint8Array.of(10, 1, 0, 1) },
  peers: Int32Array.of(0),
  device: 'u0',
} as unknown as TunnelFinding;

function make(hosts: readonly string[] = ['10.1.0.2']) {
  const offloads = new Offloads();
  const calls: string[] = [];
  const reports = new Set<ReportCode>();
  const world: {
    found: TunnelFinding;
    superframes?: Against | undefined;
    flows?: Against | undefined;
    policies?: Unused | undefined;
    traffic?: PathTraffic;
    changed: () => void;
    /** Called while the workers are configured. */
    configuring: () => void;
  } = { found: FOUND, changed: () => {}, configuring: () => {} };
  const addresses = hosts.map((text, i) => ({ ...parseIpAddress(text)!, port: 4789 + i }));
  const superframes = new Superframes({
    paths: { route: () => undefined } as unknown as Paths,
    offloads,
    tunnel: {
      find: async () => world.found,
      obstacle: () => world.policies,
    } as unknown as TunnelOffload,
    kernelPath: {
      mode: 'auto',
      judge: async (traffic: PathTraffic, changed: () => void) => {
        world.traffic = traffic;
        world.changed = changed;
      },
      against: (shortcut: 'superframes' | 'flows') => world[shortcut],
      close: async () => void calls.push('close rules'),
    } as unknown as KernelPath,
    sending: { sourcePorts: { min: 49_152, max: 65_535 }, mark: 7, isUnbound: true },
    handle: {
      vnis: () => [{ vni: 100 }],
      peers: () => addresses.map((address, peerIdx) => ({ peerIdx, address })),
      setTunnel: async () => world.configuring(),
    } as unknown as Handle,
    follower: {
      follow: async ({ device }) => void calls.push(`follow ${device}`),
      stop: () => void calls.push('stop'),
      pause: (why) => void calls.push(`pause: ${why}`),
      end: async (why) => void calls.push(`end: ${why}`),
      close: async () => void calls.push('close flows'),
    },
    log: pino({ level: 'silent' }),
    report: (code, _shortcut, texts) => void (texts ? reports.add(code) : reports.delete(code)),
    due: () => void calls.push('due'),
  });
  const by = async (act: () => Promise<void> | void) => {
    calls.length = 0;
    await act();
    return [...calls];
  };
  const refresh = () => by(() => superframes.refresh());
  return { superframes, world, reports, by, refresh, inUse: () => offloads.inUse('UDP_TUNNEL_GSO') };
}

t.test('a rule that comes withdraws at once; the refresh reports it; both return with its end', async (t) => {
  const { world, reports, by, refresh, inUse } = make();
  t.same(await refresh(), ['follow u0']);
  t.ok(inUse());
  world.superframes = RULE;
  world.flows = RULE;
  t.same(await by(() => world.changed()), ['stop', 'due']);
  t.notOk(inUse(), 'before any refresh');
  t.same(await refresh(), ['pause: rule 7 would not apply to them']);
  t.same([...reports], ['kernel_path_off']);
  world.superframes = undefined;
  world.flows = undefined;
  t.same(await by(() => world.changed()), ['due']);
  t.notOk(inUse(), 'only a refresh grants it');
  t.same(await refresh(), ['follow u0']);
  t.ok(inUse());
  t.same([...reports], []);
});

t.test('a rule against flows alone stops only them', async (t) => {
  const { world, by, refresh, inUse } = make();
  await refresh();
  world.flows = RULE;
  t.same(await by(() => world.changed()), ['stop', 'due']);
  t.ok(inUse());
});

t.test('an obstacle that comes while workers are configured', async (t) => {
  for (const come of ['superframes', 'policies'] as const) {
    const { world, refresh, inUse } = make();
    world.configuring = () => {
      world[come] = RULE;
    };
    t.same(await refresh(), ['pause: rule 7 would not apply to them'], come);
    t.notOk(inUse());
  }
});

t.test('without a path the flows end, and no rule is asked', async (t) => {
  const { world, reports, refresh, inUse } = make();
  world.found = { why: 'no peer has an IPv4 route' };
  t.same(await refresh(), ['end: no peer has an IPv4 route']);
  t.equal(world.traffic, undefined);
  t.notOk(inUse());
  t.same([...reports], []);
});

t.test('the traffic that is judged', async (t) => {
  const some = make(['10.1.0.2', '10.1.0.3', 'fd00::2']);
  await some.refresh();
  t.match(some.world.traffic, {
    families: [4],
    locals: [{ text: '10.1.0.1' }],
    peers: [{ text: '10.1.0.2' }, { text: '10.1.0.3' }],
    ports: [4789, 4790],
    devices: ['u0'],
    mark: 7,
    isUnbound: true,
  });
  t.equal(some.world.traffic?.ports.length, 2, 'IPv6 peers use no shortcut');
  const many = make(Array.from({ length: 1002 }, (_, i) => `10.2.${i >> 8}.${i & 255}`));
  await many.refresh();
  t.equal(many.world.traffic?.peers, 'any');
});

t.test('close ends the rules, then the flows', async (t) => {
  const { superframes, by } = make();
  t.same(await by(() => superframes.close()), ['close rules', 'close flows']);
});
