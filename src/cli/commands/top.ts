/**
 * Traffic, drops and the FDB as they change: on a terminal a view that lives until `q`, with `--batch` or `--json` a
 * snapshot after the other on stdout. A terminal view outlives a restart of vtepd and says what is wrong meanwhile.
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
    .description('traffic by VNI and peer, drops and FDB as they change; q quits')
    .option('-b, --batch', 'print snapshots as lines, for a file or a pipe')
    .option(...option('-d, --delay <S>', 'seconds between two (default: 1)', wholeNumber(1, 3600)))
    .option(...option('-n, --iterations <N>', 'end after so many', wholeNumber(1, 1_000_000_000)))
    .action(run(top));
};

async function top(session: Session<TopOptions>): Promise<void> {
  const { options, around } = session;
  if (options.batch || options.json) return inBatch(session);
  if (around.screen === undefined)
    throw new UsageError('top: stdin or stdout is no terminal; --batch prints lines');
  return onScreen(session, around.screen);
}

async function inBatch(session: Session<TopOptions>): Promise<void> {
  const { options, around } = session;
  const signal = around.interrupted();
  for await (const sample of samples(session, signal, 'strict')) {
    around.stdout(options.json ? `${JSON.stringify(jsonOf(sample))}\n` : batchText(sample));
  }
}

function jsonOf({ atMs, rates }: Sample): object {
  return { at: new Date(atMs).toISOString(), ...rates };
}

async function onScreen(session: Session<TopOptions>, screen: Screen): Promise<void> {
  const quit = new AbortController();
  const interrupted = session.around.interrupted();
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
      // Not before there is something to see: who cannot reach vtepd gets a line, not a flicker.
      if (!opened) screen.open({ onKey, onResize: draw });
      opened = true;
      draw();
    }
  } finally {
    screen.close();
  }
}

const QUIT = ['q', 'Q', 'escape', 'ctrl-c', 'ctrl-d'];

/** Rows by which a key scrolls. */
function steps(rows: number): Readonly<Record<string, number>> {
  const page = Math.max(1, rows - 10);
  const most = Number.MAX_SAFE_INTEGER;
  return { up: -1, k: -1, down: 1, j: 1, pageup: -page, pagedown: page, home: -most, end: most };
}

/**
 * Reads, again and again, until the signal comes.
 *
 * @param manner strict: a reading that fails ends it. patient: after a first one it is told and tried again
 */
async function* samples(
  { client, around, options }: Session<TopOptions>,
  signal: AbortSignal,
  manner: 'strict' | 'patient',
): AsyncGenerator<Sample> {
  signal.addEventListener('abort', () => void client.close());
  const { delay = 1, iterations = Number.POSITIVE_INFINITY } = options;
  let before: { counters: CountersView; elapsedMs: number } | undefined;
  let last: Sample | undefined;
  for (let count = 0; count < iterations && !signal.aborted; count++) {
    if (count > 0) await around.sleep(delay * 1000, signal);
    try {
      const status = await client.call<StatusView>('GET', '/v1/status');
      const counters = await client.call<CountersView>('GET', '/v1/counters');
      const elapsedMs = around.elapsedMs();
      const seconds = before === undefined ? delay : (elapsedMs - before.elapsedMs) / 1000;
      const rates = ratesBetween(before?.counters, counters, seconds);
      before = { counters, elapsedMs };
      last = { atMs: around.nowMs(), status, rates, failure: '' };
    } catch (error) {
      if (signal.aborted) return;
      if (manner === 'strict' || last === undefined || !(error instanceof ApiFailure)) throw error;
      last = { ...last, failure: error.message };
    }
    yield last;
  }
}
