/** Control of flow offload, over an offload and a data plane that only record calls. */
import { pino } from 'pino';
import t from 'tap';
import type { Shim } from '../../src/abi/binding.js';
import type { Handle } from '../../src/controller/handle.js';
import { Offloads } from '../../src/exchange/offloads.js';
import type { FlowsInit } from '../../src/exchange/protocol.js';
import type { Report } from '../../src/exchange/report.js';
import type { FlowOffload, FlowTap } from '../../src/flows/flow-offload.js';
import { KnownFlows } from '../../src/flows/known-flows.js';
import { HostError } from '../../src/host/host-error.js';
import type { Machine } from '../../src/host/machine.js';
import { NotPermittedError } from '../../src/host/route-redirect.js';
import type { Against, KernelPath } from '../../src/superframes/kernel-path.js';
import { type ReportShortcut, ShortcutStatus } from '../../src/superframes/shortcut-status.js';
import type { TunnelPath } from '../../src/superframes/superframes.js';

/** The steps that `follow` awaits, in order. */
const STEPS = ['open', 'flows', 'follow'] as const;
type Step = (typeof STEPS)[number] | 'close';

const pathBy = (device: string, lastByte = 1): TunnelPath => ({
  device,
  local: Uint8Array.of(192, 0, 2, lastByte),
});
const ETH0 = pathBy('eth0');
const IN_USE = 'known TCP flows pass through the kernel, by eth0';
const unused = (why: string) => `every frame of a TCP flow goes through user space: ${why}`;
const ATTEMPTS = 3;

/** @param fails names of failing steps */
function make(fails = new Set<Step>()) {
  /** Actions to run during a step. */
  const during = new Map<Step, () => void>();
  const offloads = new Offloads();
  offloads.grant('UDP_TUNNEL_GSO');
  const calls: string[] = [];
  const lines: string[] = [];
  const reports = new Map<string, Omit<Report, 'code'>>();
  /** Reason that stands against flows. */
  const rules: { against?: Against } = {};
  const kernelPath = { mode: 'auto', against: () => rules.against } as unknown as KernelPath;
  const log = pino(
    { base: null, level: 'debug' },
    { write: (line: string) => lines.push(JSON.parse(line).msg) },
  );
  const report: ReportShortcut = (code, _shortcut, texts) =>
    texts ? reports.set(code, texts) : reports.delete(code);
  const vnis = [{ vni: 100, tap: 'vtep100' }];
  const step = async (name: Step, what: () => string) => {
    during.get(name)?.();
    calls.push(what());
    if (fails.has(name)) throw new HostError(`cannot ${name}`);
  };
  /** Records "on" and "off" only when they change the state. */
  class Offload {
    readonly maps = { rows: 7, counts: 8 };
    #isOn = false;
    on({ device }: TunnelPath) {
      if (!this.#isOn) calls.push(`on ${device}`);
      this.#isOn = true;
    }
    off() {
      if (this.#isOn) calls.push('off');
      this.#isOn = false;
    }
    follow = (taps: () => Iterable<FlowTap>) =>
      step('follow', () =>
        ['follow', ...Array.from(taps(), ({ vni, index }) => `${vni} ${index}`)].join(' '),
      );
    detach(vni: number) {
      calls.push(`detach ${vni}`);
    }
    close = () => step('close', () => 'close');
  }
  const handle = {
    vnis: () => vnis,
    setFlows: async (flows: FlowsInit | undefined) => {
      if (flows) await step('flows', () => `flows ${flows.rows} ${flows.counts}`);
      else calls.push('flows none');
    },
  };
  const flows = new KnownFlows(
    {
      shim: {} as Shim,
      machine: {} as Machine,
      offloads,
      handle: handle as unknown as Handle,
      indexOf: (tap) => Number(tap.slice('vtep'.length)) + 7,
      log,
      kernelPath,
      status: new ShortcutStatus('flows', 'auto', report, log),
      opening: () => {},
      port: 4789,
      sourcePorts: { min: 49_152, max: 65_535 },
      mark: 0,
      workers: 1,
      ttl: 64,
      udpChecksum: true,
    },
    async (_shim, _machine, _spec, { device }) => {
      await step('open', () => `open ${device}`);
      return new Offload() as unknown as FlowOffload;
    },
  );
  const inUse = () => offloads.inUse('TCX_FLOWS');
  const opened = () => calls.filter((what) => what.startsWith('open')).length;
  /** Returns the calls made by `act`. */
  const by = async (act: () => Promise<void>) => {
    calls.length = 0;
    await act();
    return [...calls];
  };
  const reported = () => Array.from(reports, ([code, texts]) => ({ code, ...texts }));
  return { flows, offloads, inUse, calls, opened, by, lines, vnis, fails, during, rules, reported };
}

const SET_UP = ['open eth0', 'flows 7 8', 'follow 100 107', 'on eth0'];
const REMOVED = ['flows none', 'close'];

t.test('grants the offload after the set-up; later calls only follow the TAPs', async (t) => {
  const { flows, inUse, by, lines, vnis, reported } = make();
  t.same(reported(), []);
  t.same(await by(() => flows.follow(ETH0)), SET_UP);
  t.ok(inUse());
  vnis.push({ vni: 200, tap: 'vtep200' });
  t.same(await by(() => flows.follow(ETH0)), ['follow 100 107 200 207']);
  t.ok(inUse());
  t.same(lines, [IN_USE], 'the use is logged once');
  t.same(reported(), []);
});

t.test('a failed set-up is removed, logged once and shown in the status', async (t) => {
  for (const [failing, calls] of [
    ['open', ['open eth0']],
    ['flows', ['open eth0', 'flows 7 8', ...REMOVED]],
    ['follow', ['open eth0', 'flows 7 8', 'follow 100 107', ...REMOVED]],
  ] as const) {
    const { flows, inUse, by, lines, fails, reported } = make(new Set([failing]));
    for (let attempt = 0; attempt < 2; attempt++) t.same(await by(() => flows.follow(ETH0)), calls, failing);
    t.notOk(inUse());
    const detail = unused(`cannot ${failing}`);
    t.same(lines, [detail], 'the failure is logged once');
    t.match(reported(), [{ code: 'kernel_path_off', detail, why: /CPU/, cure: /--kernel-path off/ }]);
    fails.clear();
    t.same(await by(() => flows.follow(ETH0)), SET_UP);
    t.ok(inUse());
    t.same(reported(), []);
    t.same(lines, [detail, IN_USE]);
  }
});

t.test('a set-up that fails later is switched off before it is removed', async (t) => {
  const { flows, inUse, by, fails, during } = make();
  await flows.follow(ETH0);
  fails.add('follow');
  during.set('close', () => t.notOk(inUse(), 'the offload is withdrawn before descriptors are closed'));
  t.same(await by(() => flows.follow(ETH0)), ['follow 100 107', 'off', ...REMOVED]);
  t.notOk(inUse());
});

t.test('the number of attempts is limited for each path', async (t) => {
  const { flows, opened, calls, reported } = make(new Set(['open']));
  const tried = async (by: TunnelPath) => {
    calls.length = 0;
    for (let attempt = 0; attempt < ATTEMPTS + 2; attempt++) await flows.follow(by);
    return opened();
  };
  t.equal(await tried(ETH0), ATTEMPTS);
  t.equal(await tried(ETH0), 0);
  t.equal(reported().length, 1, 'the warning stays in the status');
  t.equal(await tried(pathBy('eth1')), ATTEMPTS, 'another device gets its own attempts');
  t.equal(await tried(pathBy('eth1', 2)), ATTEMPTS, 'another address gets its own attempts');
  await flows.end('no route');
  t.equal(await tried(pathBy('eth1', 2)), ATTEMPTS, 'the same path gets new attempts after `end`');
});

t.test('a path that fails after each set-up is not tried again, unless a later pass succeeds', async (t) => {
  const { flows, inUse, fails } = make();
  const failOnce = async () => {
    fails.add('follow');
    await flows.follow(ETH0);
    fails.clear();
  };
  for (let round = 0; round < 2 * ATTEMPTS; round++) {
    await flows.follow(ETH0);
    await flows.follow(ETH0);
    t.ok(inUse(), 'the offload is in use again');
    await failOnce();
  }
  for (let attempt = 1; attempt < ATTEMPTS; attempt++) {
    await flows.follow(ETH0);
    t.ok(inUse());
    await failOnce();
  }
  await flows.follow(ETH0);
  t.notOk(inUse());
});

t.test('a stop during the set-up keeps the offload off', async (t) => {
  for (const step of STEPS) {
    const { flows, inUse, by, during, lines } = make();
    during.set(step, () => flows.stop());
    t.same(
      await by(() => flows.follow(ETH0)),
      SET_UP.slice(0, -1),
      `${step}: the set-up is complete, but off`,
    );
    t.notOk(inUse());
    t.same(lines, []);
    during.delete(step);
    t.same(await by(() => flows.follow(ETH0)), ['follow 100 107', 'on eth0'], 'the set-up is used again');
    t.ok(inUse());
    during.set('follow', () => flows.stop());
    t.same(await by(() => flows.follow(ETH0)), ['off', 'follow 100 107']);
    t.notOk(inUse());
  }
});

t.test('the offload ends when superframes no longer leave whole', async (t) => {
  for (const step of STEPS) {
    const { flows, offloads, inUse, by, during, reported } = make();
    during.set(step, () => offloads.withdraw('UDP_TUNNEL_GSO'));
    t.same(await by(() => flows.follow(ETH0)), [...SET_UP.slice(0, -1), ...REMOVED], step);
    t.notOk(inUse());
    t.match(reported(), [{ detail: unused('superframes do not leave whole') }]);
  }
});

t.test('a change of path removes the previous set-up first', async (t) => {
  const { flows, by, inUse } = make();
  await flows.follow(ETH0);
  const change = ['off', ...REMOVED, 'open eth1', 'flows 7 8', 'follow 100 107', 'on eth1'];
  t.same(await by(() => flows.follow(pathBy('eth1'))), change);
  t.ok(inUse());
});

t.test('a removed VNI is detached, also while TAPs are followed', async (t) => {
  const { flows, by, calls, vnis, during } = make();
  flows.forget(100);
  t.same(calls, [], 'there is nothing to detach before the set-up');
  await flows.follow(ETH0);
  during.set('follow', () => {
    vnis.length = 0;
    flows.forget(100);
  });
  t.same(await by(() => flows.follow(ETH0)), ['detach 100', 'follow']);
});

t.test('close is idempotent', async (t) => {
  const { flows, by, inUse } = make();
  t.same(await by(() => flows.close()), [], 'there is nothing to remove before the set-up');
  await flows.follow(ETH0);
  t.same(await by(() => flows.close()), ['off', ...REMOVED]);
  t.notOk(inUse());
  t.same(await by(() => flows.close()), []);
  t.same(await by(() => flows.end('for good')), []);
});

t.test('a failed removal is logged and does not prevent a new set-up', async (t) => {
  const { flows, by, lines, fails, reported } = make(new Set(['close']));
  await flows.follow(ETH0);
  await flows.end('no route');
  t.same(lines, [IN_USE, unused('no route'), 'cannot close']);
  t.same(await by(() => flows.follow(ETH0)), SET_UP);
  fails.add('follow');
  await flows.follow(ETH0);
  t.match(reported(), [{ detail: unused('cannot follow') }]);
  fails.delete('follow');
  await flows.follow(ETH0);
  await t.rejects(flows.close(), { message: 'cannot close' }, 'close reports the failure');
});

t.test('a rule against flows alone ends them without a failed attempt, and is reported', async (t) => {
  const { flows, inUse, by, rules, reported } = make();
  await flows.follow(ETH0);
  rules.against = { why: 'rule 3 would not apply to them', cure: 'remove it' };
  t.same(await by(() => flows.follow(ETH0)), ['off'], 'the set-up stays');
  t.notOk(inUse());
  t.match(reported(), [
    { code: 'kernel_path_off', detail: unused('rule 3 would not apply to them'), cure: 'remove it' },
  ]);
  for (let time = 0; time < ATTEMPTS + 1; time++) t.same(await by(() => flows.follow(ETH0)), []);
  delete rules.against;
  t.same(await by(() => flows.follow(ETH0)), ['follow 100 107', 'on eth0']);
  t.ok(inUse());
  t.same(reported(), []);
});

t.test('what superframes have reported is not reported twice', async (t) => {
  const { flows, inUse, reported } = make();
  await flows.follow(ETH0);
  for (const stop of [() => flows.pause('rule 3'), () => flows.end('no route')]) {
    await stop();
    t.notOk(inUse());
    t.same(reported(), []);
  }
});

t.test('a missing permission has a notice of its own', async (t) => {
  const { flows, during, reported } = make();
  during.set('open', () => {
    throw new NotPermittedError('cannot create a network namespace (EPERM)', 'CAP_SYS_ADMIN');
  });
  await flows.follow(ETH0);
  t.match(reported(), [{ code: 'offload_not_permitted', detail: /EPERM/, cure: /CAP_SYS_ADMIN/ }]);
});
