/**
 * Offloads are not to be seen: 100,000 random cases of merging and of splitting, held byte by byte against a plain
 * reference by programs in C (`native-shims/test/`), which say how many they ran. shim.test.ts runs the first few
 * under the sanitizers. Needs root: what is split goes through sockets of a network namespace.
 *
 *     streams ──► merging ──► TAP ──► reference        superframes ──► splitting ──► lo ──► reference
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
  t.test(`${cases.toLocaleString('en')} random cases of ${what}`, async (t) => {
    const { code, stdout } = await outcome(['native-shims/test/run', '--fast', name], {
      env: { EQUIVALENCE_CASES: `${cases}` },
      limitMs: LIMIT_MS,
    });
    if (!t.equal(code, 0, 'no case differs')) t.comment(stdout);
    t.equal(Number(counted.exec(stdout)?.[1]), cases, 'all of them ran');
    t.comment(/equivalence_.*/.exec(stdout)?.[0] ?? 'nothing ran');
  });
