/**
 * State file whose writer is killed at random times. The test needs no root, but starts Node too
 * often for `npm run check`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { entriesOf } from '../../src/config/state.js';
import { load } from '../../src/config/state-file.js';

const KILLS = 200;
/** Number of concurrent writers; each writer has its own file. */
const LANES = 2;
const WRITER = fileURLToPath(new URL('../support/state-writer.ts', import.meta.url));

/** Node option that loads compiled files. Other options are omitted, so that Node starts faster. */
const LOADER = process.execArgv.filter((option) => option.includes('compiled-tests'));

t.test(
  'after each of 200 kills the file has the last acknowledged state or the state after it',
  async (t) => {
    const dir = t.testdir();
    const lanes = Array.from({ length: LANES }, (_, lane) => killOften(`${dir}/${lane}.json`, KILLS / LANES));
    t.strictSame((await Promise.all(lanes)).flat(), []);
  },
);

/** @returns a line for each kill after which the file had neither of the two allowed states */
async function killOften(path: string, kills: number): Promise<string[]> {
  let before = 0;
  const wrong: string[] = [];
  for (let kill = 0; kill < kills; kill++) {
    const writer = spawn(process.execPath, [...LOADER, WRITER, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const acknowledged = await killAtRandom(writer);
    const [mac = '0'] = entriesOf(await load(path), 1).keys();
    const kept = Number(mac.replaceAll(':', '')) % 1e9;
    if (acknowledged < before || (kept !== acknowledged && kept !== acknowledged + 1))
      wrong.push(`kill ${kill}: ${before} before, ${acknowledged} acknowledged, ${kept} kept`);
    before = kept;
  }
  if (before < kills) wrong.push(`only ${before} states were written`);
  return wrong;
}

/**
 * Lets a writer commit one to four states, and kills it at a random time of the write that follows.
 *
 * @returns the last number that the writer acknowledged
 */
async function killAtRandom(writer: ChildProcess): Promise<number> {
  let output = '';
  writer.stdout!.setEncoding('utf8').on('data', (part: string) => (output += part));
  const closed = once(writer, 'close');
  const numbers = () => output.split('\n').slice(0, -1).map(Number);
  const commits = 1 + Math.floor(Math.random() * 4);
  let begun = Date.now();
  while (numbers().length < 1 + commits) {
    begun = Date.now();
    await once(writer.stdout!, 'data');
  }
  await setTimeout(Math.random() * 2 * (Date.now() - begun));
  writer.kill('SIGKILL');
  await closed;
  return numbers().at(-1)!;
}
