/** When TCP flows may pass through the kernel: over an offload and a data plane that only note what they are told. */
import { pino } from 'pino';
import t from 'tap';
import type { Shim } from '../../src/abi/binding.js';
import type { Handle } from '../../src/controller/handle.js';
import { Offloads } from '../../src/exchange/offloads.js';
import type { FlowsInit } from '../../src/exchange/protocol.js';
import type { FlowOffload, FlowTap } from '../../src/flows/flow-offload.js';
import { KnownFlows } from '../../src/flows/known-flows.js';
import { HostError } from '../../src/host/host-error.js';
import type { TunnelPath } from '../../src/superframes/superframes.js';

/** What `follow` waits for, in this order. */
const STEPS = ['open', 'flows', 'follow'] as const;
type Step = (typeof STEPS)[number] | 'close';

const way = (device: string, lastByte = 1): TunnelPath => ({
  device,
  local: Uint8Array.of(192, 0, 2, lastByte),
});
const ETH0 = way('eth0');
const IN_USE = 'known TCP flows pass through the kernel, by eth0';
const unused = (why: string) => `every frame of a TCP flow goes through user space: ${why}`;
const ATTEMPTS = 3;

/** @param fails steps that fail */
function make(fails = new Set<Step>()) {
  /** What is done while a step is waited for. */
  const during = new Map<Step, () => void>();
  const offloads = new Offloads();
  offloads.grant('UDP_TUNNEL_GSO');
  const told: string[] = [];
  const lines: string[] = [];
  const vnis: FlowTap[] = [{ vni: 100, tap: 'vtep100' }];
  const step = async (name: Step, what: () => string) => {
    during.get(name)?.();
    told.push(what());
    if (fails.has(name)) throw new HostError(`cannot ${name}`);
  };
  /** It notes "on" and "off" where it was not so before. */
  class Offload {
    readonly maps = { rows: 7, counts: 8 };
    #isOn = false;
    on({ device }: TunnelPath) {
      if (!this.#isOn) told.push(`on ${device}`);
      this.#isOn = true;
    }
    off() {
      if (this.#isOn) told.push('off');
      this.#isOn = false;
    }
    follow = (taps: () => Iterable<FlowTap>) =>
      step('follow', () => ['follow', ...Array.from(taps(), ({ vni, tap }) => `${vni} ${tap}`)].join(' '));
    detach(vni: number) {
      told.push(`detach ${vni}`);
    }
    close = () => step('close', () => 'close');
  }
  const handle = {
    vnis: () => vnis,
    setFlows: async (flows: FlowsInit | undefined) => {
      if (flows) await step('flows', () => `flows ${flows.rows} ${flows.counts}`);
      else told.push('flows none');
    },
  };
  const flows = new KnownFlows(
    {
      shim: {} as Shim,
      offloads,
      handle: handle as unknown as Handle,
      log: pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line).msg) }),
      port: 4789,
      sourcePorts: { min: 49_152, max: 65_535 },
      workers: 1,
      ttl: 64,
      udpChecksum: true,
    },
    async (_shim, _spec, { device }) => {
      await step('open', () => `open ${device}`);
      return new Offload() as unknown as FlowOffload;
    },
  );
  const granted = () => offloads.inUse('TCX_FLOWS');
  const opened = () => told.filter((what) => what.startsWith('open')).length;
  /** What is told meanwhile. */
  const by = async (act: () => Promise<void>) => {
    told.length = 0;
    await act();
    return [...told];
  };
  return { flows, offloads, granted, told, opened, by, lines, vnis, fails, during };
}

const SET_UP = ['open eth0', 'flows 7 8', 'follow 100 vtep100', 'on eth0'];
const TAKEN_BACK = ['flows none', 'close'];

t.test('granted once everything stands, then the TAPs alone are followed', async (t) => {
  const { flows, granted, by, lines, vnis } = make();
  t.same(flows.warnings(), []);
  t.same(await by(() => flows.follow(ETH0)), SET_UP);
  t.ok(granted());
  vnis.push({ vni: 200, tap: 'vtep200' });
  t.same(await by(() => flows.follow(ETH0)), ['follow 100 vtep100 200 vtep200']);
  t.ok(granted());
  t.same(lines, [IN_USE], 'said once');
  t.same(flows.warnings(), []);
});

t.test('set-up that fails is taken back whole, said once and shown', async (t) => {
  for (const [failing, told] of [
    ['open', ['open eth0']],
    ['flows', ['open eth0', 'flows 7 8', ...TAKEN_BACK]],
    ['follow', ['open eth0', 'flows 7 8', 'follow 100 vtep100', ...TAKEN_BACK]],
  ] as const) {
    const { flows, granted, by, lines, fails } = make(new Set([failing]));
    for (let attempt = 0; attempt < 2; attempt++) t.same(await by(() => flows.follow(ETH0)), told, failing);
    t.notOk(granted());
    const detail = unused(`cannot ${failing}`);
    t.same(lines, [detail], 'said once');
    t.same(flows.warnings(), [{ code: 'flow_offload_unused', detail }]);
    fails.clear();
    t.same(await by(() => flows.follow(ETH0)), SET_UP);
    t.ok(granted());
    t.same(flows.warnings(), []);
    t.same(lines, [detail, IN_USE]);
  }
});

t.test('what stood and fails is ended before it is taken back', async (t) => {
  const { flows, granted, by, fails, during } = make();
  await flows.follow(ETH0);
  fails.add('follow');
  during.set('close', () => t.notOk(granted(), 'withdrawn before descriptors are closed'));
  t.same(await by(() => flows.follow(ETH0)), ['follow 100 vtep100', 'off', ...TAKEN_BACK]);
  t.notOk(granted());
});

t.test('one way is tried so often, another anew', async (t) => {
  const { flows, opened, told } = make(new Set(['open']));
  const tried = async (by: TunnelPath) => {
    told.length = 0;
    for (let attempt = 0; attempt < ATTEMPTS + 2; attempt++) await flows.follow(by);
    return opened();
  };
  t.equal(await tried(ETH0), ATTEMPTS);
  t.equal(await tried(ETH0), 0);
  t.equal(flows.warnings().length, 1, 'it stays in the status');
  t.equal(await tried(way('eth1')), ATTEMPTS, 'another device');
  t.equal(await tried(way('eth1', 2)), ATTEMPTS, 'another address');
  await flows.end('there was no way at all');
  t.equal(await tried(way('eth1', 2)), ATTEMPTS, 'one that was gone');
});

t.test('one that fails each time it was set up is given up, one that stood again is not', async (t) => {
  const { flows, granted, fails } = make();
  const failOnce = async () => {
    fails.add('follow');
    await flows.follow(ETH0);
    fails.clear();
  };
  for (let round = 0; round < 2 * ATTEMPTS; round++) {
    await flows.follow(ETH0);
    await flows.follow(ETH0);
    t.ok(granted(), 'it stands');
    await failOnce();
  }
  for (let attempt = 1; attempt < ATTEMPTS; attempt++) {
    await flows.follow(ETH0);
    t.ok(granted());
    await failOnce();
  }
  await flows.follow(ETH0);
  t.notOk(granted());
});

t.test('whoever stops it while it is set up is obeyed', async (t) => {
  for (const step of STEPS) {
    const { flows, granted, by, during, lines } = make();
    during.set(step, () => flows.stop());
    t.same(await by(() => flows.follow(ETH0)), SET_UP.slice(0, -1), `${step}: set up, and off`);
    t.notOk(granted());
    t.same(lines, []);
    during.delete(step);
    t.same(await by(() => flows.follow(ETH0)), ['follow 100 vtep100', 'on eth0'], 'what is set up serves');
    t.ok(granted());
    during.set('follow', () => flows.stop());
    t.same(await by(() => flows.follow(ETH0)), ['off', 'follow 100 vtep100']);
    t.notOk(granted());
  }
});

t.test('superframes that leave whole no more end it', async (t) => {
  for (const step of STEPS) {
    const { flows, offloads, granted, by, during } = make();
    during.set(step, () => offloads.withdraw('UDP_TUNNEL_GSO'));
    t.same(await by(() => flows.follow(ETH0)), [...SET_UP.slice(0, -1), ...TAKEN_BACK], step);
    t.notOk(granted());
    t.match(flows.warnings(), [{ detail: unused('superframes do not leave whole') }]);
  }
});

t.test('another way: the former one is taken back first', async (t) => {
  const { flows, by, granted } = make();
  await flows.follow(ETH0);
  const change = ['off', ...TAKEN_BACK, 'open eth1', 'flows 7 8', 'follow 100 vtep100', 'on eth1'];
  t.same(await by(() => flows.follow(way('eth1'))), change);
  t.ok(granted());
});

t.test('a VNI that goes is forgotten, also while TAPs are followed', async (t) => {
  const { flows, by, told, vnis, during } = make();
  flows.forget(100);
  t.same(told, [], 'nothing was set up');
  await flows.follow(ETH0);
  during.set('follow', () => {
    vnis.length = 0;
    flows.forget(100);
  });
  t.same(await by(() => flows.follow(ETH0)), ['detach 100', 'follow']);
});

t.test('closing twice is closing once', async (t) => {
  const { flows, by, granted } = make();
  t.same(await by(() => flows.close()), [], 'nothing was set up');
  await flows.follow(ETH0);
  t.same(await by(() => flows.close()), ['off', ...TAKEN_BACK]);
  t.notOk(granted());
  t.same(await by(() => flows.close()), []);
  t.same(await by(() => flows.end('for good')), []);
});

t.test('what cannot be taken back is said, and hinders nothing', async (t) => {
  const { flows, by, lines, fails } = make(new Set(['close']));
  await flows.follow(ETH0);
  await flows.end('no route');
  t.same(lines, [IN_USE, unused('no route'), 'cannot close']);
  t.same(await by(() => flows.follow(ETH0)), SET_UP);
  fails.add('follow');
  await flows.follow(ETH0);
  t.match(flows.warnings(), [{ detail: unused('cannot follow') }]);
  fails.delete('follow');
  await flows.follow(ETH0);
  await t.rejects(flows.close(), { message: 'cannot close' }, 'who stops the daemon is told');
});
