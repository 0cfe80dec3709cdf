/**
 * `npm run soak`: sets up, builds, compiles bench/ and runs the soak test (docs/reliability.md).
 *
 *     --minutes N    length of the run (default 20)
 *     --seed N       seed that an earlier run printed; repeats the changes of that run
 *     --no-kills     end no data-plane thread; then every frame must be counted exactly
 */
import { needRoot, node, setUp } from './set-up.mjs';

needRoot('npm run soak');
setUp({ tools: ['ip', 'bridge', 'ping', 'iperf3'] });
if (node('node_modules/typescript/bin/tsc', '-p', 'bench').status !== 0) process.exit(1);
process.exitCode = node('build/bench/soak/main.js', ...process.argv.slice(2)).status ?? 1;
