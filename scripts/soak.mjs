/**
 * `npm run soak`: sets up, builds, compiles bench/ and runs the soak. What it does is in docs/reliability.md.
 *
 *     --minutes N    length, 20 unless told
 *     --seed N       the choices of an earlier run, which printed it
 *     --no-kills     no data-plane thread is ended: then every frame has to be counted, exactly
 */
import { needRoot, node, setUp } from './set-up.mjs';

needRoot('npm run soak');
setUp({ tools: ['ip', 'bridge', 'ping', 'iperf3'] });
if (node('node_modules/typescript/bin/tsc', '-p', 'bench').status !== 0) process.exit(1);
process.exitCode = node('build/bench/soak/main.js', ...process.argv.slice(2)).status ?? 1;
