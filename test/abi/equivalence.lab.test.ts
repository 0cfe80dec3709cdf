/**
 * Random comparison of merging and splitting with a plain reference: 100,000 cases.
 *
 * Two programs in C (`native-shims/test/`) compare the results byte by byte and print the number of
 * cases. shim.test.ts runs 2,500 cases of each program under the sanitizers. The test needs root to
 * create a network namespace, in which split superframes pass through sockets.
 *
 *     streams ──► merging ──► TAP ──► reference
 *     superframes ──► splitting ──► lo ──► reference
 */
import t from 'tap';
import { outcome } from '../support/command.js';

const LIMIT_MS = 240_000;

const programs = [
  { name: 'equivalence_receive_test', what: 'merging', cases: 70_000, counted: /, (\d+) streams, / },
  { name: 'equivalence_send_test', what: 'splitting', cases: 30_000, counted: /, (\d+) batches, / },
];

t.setTimeout(LIMIT_MS);

for (const { name, what, cases, counted } of programs)
  t.test(`${what} agrees with the reference in ${cases.toLocaleString('en')} random cases`, async (t) => {
    const { code, stdout } = await outcome(['native-shims/test/run', '--fast', name], {
      env: { EQUIVALENCE_CASES: `${cases}` },
      limitMs: LIMIT_MS,
    });
    if (!t.equal(code, 0, 'no case differs')) t.comment(stdout);
    t.equal(Number(counted.exec(stdout)?.[1]), cases, 'all cases ran');
    t.comment(/equivalence_.*/.exec(stdout)?.[0] ?? 'nothing ran');
  });
