/** vtepctl top and counters --watch: snapshots, screen, keys, and an interruption of the daemon. */
import t from 'tap';
import type { Line, Screen, Watcher } from '../../../src/cli/screen.js';
import { counters, STATUS, vniCounters } from '../../support/counters.js';
import { type Answer, fakeApi, refusal } from '../../support/fake-api.js';
import { runVtepctl } from '../../support/vtepctl.js';

const peers = Array.from({ length: 40 }, (_, index) => ({
  address: `192.0.2.${index}`,
  tx: { frames: 0, bytes: 0 },
  rx: { frames: 0, bytes: 0 },
}));

/**
 * API whose TAP counter increases by 100 frames per reading.
 *
 * @param down numbers of the readings that fail; the first reading has number 1
 */
function daemon(down: readonly number[] = []) {
  let readings = 0;
  return {
    'GET /v1/status': { body: STATUS },
    'GET /v1/counters': (): Answer => {
      const frames = 100 * readings++;
      if (down.includes(readings)) return refusal(503, 'dataplane_down', 'the data plane is being restarted');
      const tap = { rx: { frames, bytes: frames * 100 }, tx: { frames: 0, bytes: 0 }, queueDropped: 0 };
      return { body: counters([vniCounters(100, { tap, peers })]) };
    },
  };
}

class FakeScreen implements Screen {
  readonly size = { columns: 80, rows: 24 };
  readonly frames: string[] = [];
  readonly calls: string[] = [];
  /** Actions of the user: after each drawing of the screen, the next action is called. */
  #script: ((watcher: Watcher) => void)[];
  #watcher: Watcher | undefined;

  constructor(...script: ((watcher: Watcher) => void)[]) {
    this.#script = script;
  }

  open(watcher: Watcher): void {
    this.calls.push('open');
    this.#watcher = watcher;
  }

  draw(lines: readonly Line[]): void {
    this.frames.push(lines.map(({ text }) => text).join('\n'));
    const next = this.#script.shift();
    if (next && this.#watcher) next(this.#watcher);
  }

  close(): void {
    this.calls.push('close');
  }
}

const press =
  (...names: string[]) =>
  ({ onKey }: Watcher) => {
    for (const name of names) onKey(name);
  };
const wait = () => {};
/** Returns a clock that advances by 1 s at each reading. */
const clock = () => {
  let nowMs = 0;
  return () => (nowMs += 1000);
};

t.test(
  'the screen shows rates, scrolls, continues after an interruption of the daemon, and ends with q',
  async (t) => {
    const { place } = await fakeApi(t, daemon([3]));
    const screen = new FakeScreen(wait, wait, press('down'), ({ onResize }) => onResize(), wait, press('q'));
    const result = await runVtepctl('top', { env: { VTEPCTL_API: place }, screen, elapsedMs: clock() });
    t.strictSame(result, { code: 0, stdout: '', stderr: '' });
    t.strictSame(screen.calls, ['open', 'close']);
    t.match(screen.frames[0], /^out 0 frames\/s/m, 'rates are 0 after the first reading');
    t.match(screen.frames[1], /^out 100 frames\/s 80\.0kbit\/s/m);
    t.match(screen.frames[2], 'the data plane is being restarted');
    t.match(screen.frames[3], /scroll: 2-19 of 41/, 'a key redraws at once');
    t.match(screen.frames[5], /^out 200 frames\/s/m, 'rates are computed again after the interruption');
    t.notMatch(screen.frames[5], 'restarted');
  },
);

t.test('Ctrl-C ends the view, and the screen is not opened for an unreachable daemon', async (t) => {
  const { place } = await fakeApi(t, daemon());
  const screen = new FakeScreen(press('ctrl-c'));
  t.match(await runVtepctl('top', { env: { VTEPCTL_API: place }, screen }), { code: 0, stderr: '' });
  const unused = new FakeScreen();
  t.match(await runVtepctl('top --api unix:/nowhere', { screen: unused }), {
    code: 1,
    stderr: /cannot reach/,
  });
  t.notOk(unused.calls.includes('open'));
});

t.test('--batch and --json print a given number of snapshots at a given interval', async (t) => {
  const { place } = await fakeApi(t, daemon());
  const env = { VTEPCTL_API: place };
  const slept: number[] = [];
  const { code, stdout } = await runVtepctl('top -b -n 2 -d 5', {
    env,
    elapsedMs: clock(),
    onSleep: (ms) => slept.push(ms),
  });
  t.equal(code, 0);
  t.strictSame(slept, [5000]);
  t.equal(stdout.match(/^VNI 100 /gm)?.length, 2);
  const json = await runVtepctl('top --json -n 2', { env, elapsedMs: clock() });
  const lines = json.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(lines, [{ at: String, vnis: [{ vni: 100 }] }, { vnis: [{ out: { frames: 100, bytes: 10_000 } }] }]);
  t.match(await runVtepctl('top -b --api unix:/nowhere'), { code: 1, stderr: /cannot reach/ });
});

t.test('counters --watch prints rates per second until Ctrl-C', async (t) => {
  const { place } = await fakeApi(t, daemon());
  const env = { VTEPCTL_API: place };
  const watch = async (line: string, isTerminal = false) => {
    const interrupt = new AbortController();
    let pauses = 0;
    const result = await runVtepctl(line, {
      env,
      isTerminal,
      elapsedMs: clock(),
      interrupt: interrupt.signal,
      onSleep: () => ++pauses === 2 && interrupt.abort(),
    });
    t.strictSame({ code: result.code, stderr: result.stderr }, { code: 0, stderr: '' });
    return result.stdout;
  };
  const text = await watch('counters --watch');
  t.match(text, /^\d\d:\d\d:\d\d\nVNI 100 +COUNT +BYTES +\/S\ntap rx +0 +0 +0\n/);
  t.match(text, /\ntap rx +100 +10000 +100\n/);
  t.notMatch(text, '\x1b', 'without a terminal there are no escape sequences');
  t.ok(
    (await watch('counters --watch 2 --vni 100', true)).startsWith('\x1b[H\x1b[2J'),
    'a terminal is cleared first',
  );
  const lines = (await watch('counters --watch --json')).trim().split('\n');
  t.match(
    lines.map((line) => JSON.parse(line)),
    [{ at: String, vnis: [{}] }, { at: String }],
  );
});
