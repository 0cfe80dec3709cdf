/**
 * Test that the hot path allocates nothing.
 *
 * Tens of thousands of batches pass through encap and decap; the heap must neither grow nor be
 * collected. The measurement is made in a separate process, where no other code allocates, and is
 * repeated three times. One clean result is enough, because the compiler is possibly still active
 * in the first. A control measurement, which allocates one object per frame, must fail three times.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { collectionsBetween } from '../bench/heap/trace.js';

/**
 * Allowed growth in bytes: the cost of reading the heap size, and a reserve. One byte per frame
 * would be half a MB.
 */
const SLACK_LEN = 16 * 1024;
/**
 * Allowed growth in bytes during one second of rounds, including the FDB request at its end. A
 * second has about 100,000 rounds, so a boxed double in each round would be megabytes. V8 itself
 * allocates 30 to 250 KB, depending on what it compiles.
 */
const SECOND_LEN = 512 * 1024;
const HARNESS = fileURLToPath(new URL('./support/allocation-run.ts', import.meta.url));
const ROUND_HARNESS = fileURLToPath(new URL('./support/round-run.ts', import.meta.url));
const PROBES = ['../bench/heap/probe.mjs', './support/tools/transfers.mjs'].flatMap((file) => [
  '--import',
  fileURLToPath(new URL(file, import.meta.url)),
]);

interface Run {
  name: string;
  grownLen: number;
  collections: number;
}

async function measure(...options: string[]): Promise<Map<string, Run[]>> {
  const args = [...process.execArgv, '--expose-gc', HARNESS, ...options];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 50_000 });
  const runs = JSON.parse(stdout) as Run[];
  const byName = new Map<string, Run[]>();
  for (const run of runs) byName.set(run.name, [...(byName.get(run.name) ?? []), run]);
  return byName;
}

t.setTimeout(600_000);

const isClean = ({ grownLen, collections }: Run) => grownLen < SLACK_LEN && collections === 0;

t.test('encap and decap allocate nothing after warm-up', async (t) => {
  const measured = await measure();
  t.same([...measured.keys()], ['decap', 'encap', 'decap, with events', 'encap, with events']);
  for (const [name, runs] of measured)
    t.ok(runs.some(isClean), `${name}: one run is clean: ${JSON.stringify(runs)}`);
});

t.test('one object per frame is detected', async (t) => {
  const runs = (await measure('leak')).get('encap') ?? [];
  t.equal(runs.length, 3);
  t.notOk(runs.some(isClean), `no run is clean: ${JSON.stringify(runs)}`);
});

/** Heap size of a worker in bytes before and after a full collection. */
interface Sample {
  before: number;
  after: number;
}

t.test('whole rounds of a worker allocate nothing, and its reports transfer no memory', async (t) => {
  const dir = t.testdir({ transfers: '' });
  const files = { BENCH_HEAP_FILE: join(dir, 'samples'), TRANSFERS_FILE: join(dir, 'transfers') };
  const args = [...process.execArgv, '--expose-gc', '--trace-gc', ...PROBES, ROUND_HARNESS];
  const env = { ...process.env, ...files };
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 50_000, env });
  const lines = readFileSync(files.BENCH_HEAP_FILE, 'utf8').trim().split('\n');
  const samples = lines.map((line) => JSON.parse(line) as Sample);
  const grown = samples.slice(1).map(({ before }, i) => before - samples[i].after);
  t.equal(grown.length, 4);
  t.ok(
    grown.some((len) => len > 0 && len < SECOND_LEN),
    `in one second the heap grows by less than ${SECOND_LEN} bytes: ${grown}`,
  );
  t.equal(collectionsBetween(stdout)?.major, 0);
  t.equal(
    readFileSync(files.TRANSFERS_FILE, 'utf8'),
    '',
    'no memory is transferred, which would invalidate code compiled for typed arrays',
  );
});
