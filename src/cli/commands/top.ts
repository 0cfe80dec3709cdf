/**
 * Command `top`: live traffic, drops and FDB changes.
 *
 * On a terminal it is a full-screen view until `q`; with `--batch` or `--json` it prints snapshots
 * to stdout. The full-screen view continues after a restart of vtepd, and shows the error until
 * then.
 */

import type { CountersView, StatusView } from '../../api/views.js';
import { wholeNumber } from '../../config/values.js';
import { ApiFailure } from '../client.js';
import { ratesBetween } from '../rates.js';
import type { Screen } from '../screen.js';
import { type Declare, option, type Session, UsageError } from '../session.js';
import { batchText, type Sample, screenLines, scrollLimit } from '../top-view.js';

interface TopOptions {
  readonly batch?: true;
  readonly delay?: number;
  readonly iterations?: number;
}

export const declareTop: Declare = (program, run) => {
  program
    .command('top')
    .description('show live rates of VNIs, peers, drops and FDB changes; q quits')
    .option('-b, --batch', 'print snapshots as lines, for a file or a pipe')
    .option(...option('-d, --delay <S>', 'seconds between updates (default: 1)', wholeNumber(1, 3600)))
    .option(...option('-n, --iterations <N>', 'stop after N updates', wholeNumber(1, 1_000_000_000)))
    .action(run(top));
};

async function top(session: Session<TopOptions>): Promise<void> {
  const { options, environment } = session;
  if (options.batch || options.json) return inBatch(session);
  if (environment.screen === undefined)
    throw new UsageError('top: stdin or stdout is not a terminal; use --batch to print lines');
  return onScreen(session, environment.screen);
}

async function inBatch(session: Session<TopOptions>): Promise<void> {
  const { options, environment } = session;
  const signal = environment.interrupted();
  for await (const sample of samples(session, signal, 'strict')) {
    environment.stdout(options.json ? `${JSON.stringify(jsonOf(sample))}\n` : batchText(sample));
  }
}

function jsonOf({ atMs, rates }: Sample): object {
  return { at: new Date(atMs).toISOString(), ...rates };
}

async function onScreen(session: Session<TopOptions>, screen: Screen): Promise<void> {
  const quit = new AbortController();
  const interrupted = session.environment.interrupted();
  interrupted.addEventListener('abort', () => quit.abort());
  let sample: Sample | undefined;
  let scrolled = 0;
  let opened = false;
  const draw = () => sample && screen.draw(screenLines(sample, screen.size, scrolled));
  const onKey = (name: string) => {
    if (QUIT.includes(name)) quit.abort();
    const step = steps(screen.size.rows)[name];
    if (step === undefined || sample === undefined) return;
    scrolled = Math.min(Math.max(0, scrolled + step), scrollLimit(sample, screen.size));
    draw();
  };
  try {
    for await (sample of samples(session, quit.signal, 'patient')) {
      // Opened after the first reading, so that an unreachable vtepd gives a plain error message.
      if (!opened) screen.open({ onKey, onResize: draw });
      opened = true;
      draw();
    }
  } finally {
    screen.close();
  }
}

const QUIT = ['q', 'Q', 'escape', 'ctrl-c', 'ctrl-d'];

/** Returns the number of rows by which each key scrolls. */
function steps(rows: number): Readonly<Record<string, number>> {
  const page = Math.max(1, rows - 10);
  const most = Number.MAX_SAFE_INTEGER;
  return { up: -1, k: -1, down: 1, j: 1, pageup: -page, pagedown: page, home: -most, end: most };
}

/**
 * Reads samples periodically until the signal aborts.
 *
 * @param manner strict: a failed reading throws; patient: after the first success, a failed reading
 *   yields the last sample with the error, and reading continues
 */
async function* samples(
  { client, environment, options }: Session<TopOptions>,
  signal: AbortSignal,
  manner: 'strict' | 'patient',
): AsyncGenerator<Sample> {
  signal.addEventListener('abort', () => void client.close());
  const { delay = 1, iterations = Number.POSITIVE_INFINITY } = options;
  let before: { counters: CountersView; elapsedMs: number } | undefined;
  let last: Sample | undefined;
  for (let count = 0; count < iterations && !signal.aborted; count++) {
    if (count > 0) await environment.sleep(delay * 1000, signal);
    try {
      const status = await client.call<StatusView>('GET', '/v1/status');
      const counters = await client.call<CountersView>('GET', '/v1/counters');
      const elapsedMs = environment.elapsedMs();
      const seconds = before === undefined ? delay : (elapsedMs - before.elapsedMs) / 1000;
      const rates = ratesBetween(before?.counters, counters, seconds);
      before = { counters, elapsedMs };
      last = { atMs: environment.nowMs(), status, rates, failure: '' };
    } catch (error) {
      if (signal.aborted) return;
      if (manner === 'strict' || last === undefined || !(error instanceof ApiFailure)) throw error;
      last = { ...last, failure: error.message };
    }
    yield last;
  }
}
