/**
 * `npm run property`: the property tests with tenants, with ten minutes of new random cases.
 *
 * `npm run check` runs a few thousand cases. A failure prints its seed and the smallest case that
 * still fails.
 *
 *     --seconds N    length of the run (default 600)
 *     --seed N       seed of an earlier run, to repeat it
 */
import { parseArgs } from 'node:util';
import { node, setUp } from './set-up.mjs';

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });

setUp({ build: false });
if (node('scripts/compile-tests.mjs').status !== 0) process.exit(1);
process.env.PROPERTY_S = values.seconds ?? '600';
if (values.seed !== undefined) process.env.PROPERTY_SEED = values.seed;
const options = ['--enable-source-maps', '--import=./scripts/compiled-tests.mjs'];
const result = node(...options, 'test/switch/forward/tenants.test.ts');
process.exitCode = result.status ?? 1;
