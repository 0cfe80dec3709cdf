/**
 * `npm run bench`: sets up, builds, compiles bench/ to build/ and runs it. The method is in docs/performance.md.
 *
 *     --rounds N           interleaved rounds of the lab, 5 unless told
 *     --seconds N          length of one measurement, 4 unless told
 *     --short              one round of one second: does the benchmark work?
 *     --only micro|lab     one half; micro needs no root
 */
import { needRoot, node, setUp } from './set-up.mjs';

const args = process.argv.slice(2);
const isMicroOnly = args.includes('micro');

if (!isMicroOnly) needRoot('npm run bench');
setUp({ tools: isMicroOnly ? [] : ['ip', 'ping', 'iperf3', 'ethtool'] });
if (node('node_modules/typescript/bin/tsc', '-p', 'bench').status !== 0) process.exit(1);
process.exitCode = node('build/bench/main.js', ...args).status ?? 1;
