/**
 * Smoke test of the benchmark: two measurements (cells) and two floods, each for one short round.
 *
 * The figures themselves are not checked.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Results } from '../../bench/results.js';
import { outcome, run } from '../support/command.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const LIMIT_MS = 60_000;
const FLOODS_LIMIT_MS = 180_000;

t.test('a short benchmark of two cells prints a table and writes a file', async (t) => {
  await run([process.execPath, join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', join(ROOT, 'bench')]);
  const bench = [
    process.execPath,
    join(ROOT, 'build/bench/main.js'),
    '--short',
    '--only',
    'tcp1-whole,udp64',
  ];
  const { code, stdout, stderr } = await outcome(bench, { limitMs: LIMIT_MS });
  t.equal(code, 0, stderr);
  t.match(
    stdout,
    /^\| cell .*\| kernel \| +vtepd \| +ratio \| +CPU, ratio \| +must \| +aim \| verdict /m,
    'the output contains the header of the table',
  );
  const figure = String.raw`\d+(\.\d+)?`;
  const row = (title: string, unit: string) =>
    new RegExp(String.raw`^\| ${title} *\| ${unit} *(\| +${figure} ){4}\| +≥ `, 'm');
  t.match(stdout, row('TCP ×1, superframes whole', 'Gb/s'), 'the row of TCP has figures, ratios and a goal');
  t.match(stdout, row('UDP 64 B, one flow', 'k frames/s'), 'the row of UDP has figures, ratios and a goal');

  const file = /^bench\/results\/\S+\.json$/m.exec(stdout)?.[0] ?? '';
  t.not(file, '', 'the output contains the path of the file');
  t.teardown(() => rmSync(join(ROOT, file), { force: true }));
  const results = JSON.parse(readFileSync(join(ROOT, file), 'utf8')) as Results;
  t.same(results.failures, [], 'no measurement failed');
  t.same(
    results.stages.map(({ id, series }) => [id, series.map((one) => [one.task, one.competitor])]),
    [
      [
        'device-whole',
        [
          ['tcp1', 'kernel'],
          ['tcp1', 'vtepd'],
          ['udp64', 'kernel'],
          ['udp64', 'vtepd'],
        ],
      ],
    ],
    'exactly these tasks were measured',
  );
  for (const { rounds } of results.stages[0].series)
    t.ok((rounds[0]?.figures[0] ?? 0) > 0, 'each series has a figure');
  t.ok(results.stages[0].offloads.vtepd.eth0.length > 0, 'the offloads of the underlay device are recorded');
});

t.test('a short benchmark of floods prints a table and measures every flood', async (t) => {
  const bench = [process.execPath, join(ROOT, 'build/bench/main.js'), '--short', '--only', 'floods'];
  const { code, stdout, stderr } = await outcome(bench, { limitMs: FLOODS_LIMIT_MS });
  const file = /^bench\/results\/\S+\.json$/m.exec(stdout)?.[0] ?? '';
  t.teardown(() => rmSync(join(ROOT, file), { force: true }));
  t.equal(code, 0, stderr);
  t.match(
    stdout,
    /^\| one MAC from a peer .* \| (ok|below must: [\w, ]+) +\|$/m,
    'the row of a flood has a verdict',
  );
  const { floods = [] } = JSON.parse(readFileSync(join(ROOT, file), 'utf8')) as Results;
  t.same(
    floods.map(({ id, rounds }) => [id, rounds.length]),
    [
      ['one-mac', 1],
      ['storm', 1],
    ],
  );
  for (const { rounds } of floods)
    for (const { quiet, rates } of rounds) {
      t.ok(quiet.gbps > 0, 'the known flow has throughput');
      t.ok(rates.socket > 0 && rates.vtepd > 0, 'both floods were sent');
    }
});
