/**
 * The file of the state, whose writer is killed at random moments. It needs no root, but too many starts of Node for
 * `npm run check`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { entriesOf } from '../../src/config/state.js';
import { load } from '../../src/config/state-file.js';

const KILLS = 200;
/** Writers at once, each with a file of its own. */
const LANES = 2;
const WRITER = fileURLToPath(new URL('../support/state-writer.ts', import.meta.url));

/** Of what the tests run with, only that which finds compiled files: the rest would take longer than the writing. */
const LOADER = process.execArgv.filter((option) => option.includes('compiled-tests'));

t.test('killed 200 times while it writes: old or new, never less than was answered', async (t) => {
  const dir = t.testdir();
  const lanes = Array.from({ length: LANES }, (_, lane) => killOften(`${dir}/${lane}.json`, KILLS / LANES));
  t.strictSame((await Promise.all(lanes)).flat(), []);
});

/** @returns what was wrong with the states that were found */
async function killOften(path: string, kills: number): Promise<string[]> {
  let before = 0;
  const wrong: string[] = [];
  for (let kill = 0; kill < kills; kill++) {
    const writer = spawn(process.execPath, [...LOADER, WRITER, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const answered = await killAtRandom(writer);
    const [mac = '0'] = entriesOf(await load(path), 1).keys();
    const kept = Number(mac.replaceAll(':', '')) % 1e9;
    if (answered < before || (kept !== answered && kept !== answered + 1))
      wrong.push(`kill ${kill}: ${before} before, ${answered} answered, ${kept} kept`);
    before = kept;
  }
  if (before <= kills) wrong.push(`only ${before} states were written`);
  return wrong;
}

/** Lets a writer begin, and kills it within some milliseconds. @returns the last number that it answered */
async function killAtRandom(writer: ChildProcess): Promise<number> {
  let said = '';
  writer.stdout!.setEncoding('utf8').on('data', (part: string) => (said += part));
  const closed = once(writer, 'close');
  await once(writer.stdout!, 'data');
  const timer = setTimeout(() => writer.kill('SIGKILL'), Math.random() * 20);
  await closed;
  clearTimeout(timer);
  return Number(said.trimEnd().split('\n').at(-1));
}
