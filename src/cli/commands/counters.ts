/** Command `counters`: the counters, once or periodically. */

import type { CountersView } from '../../api/views.js';
import { wholeNumber } from '../../config/values.js';
import { type Declare, option, Refusal, type Session, VNI_OPTION, type VniOption } from '../session.js';
import { clockText, countersText } from '../vtepctl-text.js';

interface CountersOptions extends VniOption {
  /** Interval in seconds; true for the default. */
  readonly watch?: number | true;
}

export const declareCounters: Declare = (program, run) => {
  program
    .command('counters')
    .description('show frames and bytes by VNI and peer, and drops by reason')
    .option(...VNI_OPTION)
    .option(
      ...option('--watch [S]', 'print again every S seconds (default: 1), with rates per second', SECONDS),
    )
    .action(run(counters));
};

const SECONDS = wholeNumber(1, 3600);

async function counters(session: Session<CountersOptions>): Promise<void> {
  const { watch } = session.options;
  if (watch !== undefined) return follow(session, watch === true ? 1 : watch);
  const chosen = await read(session);
  session.answer(chosen, () => countersText(chosen));
}

/** Prints periodically. A terminal is cleared first; with --json each reading is one line. */
async function follow(session: Session<CountersOptions>, intervalS: number): Promise<void> {
  const { environment, options } = session;
  const signal = environment.interrupted();
  let before: CountersView | undefined;
  let beforeMs = 0;
  while (!signal.aborted) {
    const now = await read(session);
    const nowMs = environment.nowMs();
    const elapsedMs = environment.elapsedMs();
    const seconds = before ? (elapsedMs - beforeMs) / 1000 : intervalS;
    const text = () => countersText(now, before ?? now, seconds);
    if (options.json)
      environment.stdout(`${JSON.stringify({ at: new Date(nowMs).toISOString(), ...now })}\n`);
    else environment.stdout(`${environment.output.isTerminal ? CLEAR : ''}${clockText(nowMs)}\n${text()}\n`);
    before = now;
    beforeMs = elapsedMs;
    await environment.sleep(intervalS * 1000, signal);
  }
}

const CLEAR = '\x1b[H\x1b[2J';

async function read({ client, options }: Session<CountersOptions>): Promise<CountersView> {
  const all = await client.call<CountersView>('GET', '/v1/counters');
  const vnis = all.vnis.filter(({ vni }) => options.vni === undefined || vni === options.vni);
  if (options.vni !== undefined && vnis.length === 0)
    throw new Refusal(`VNI ${options.vni} is not configured`);
  return { ...all, vnis };
}
