/**
 * `npm run bench`: sets up, builds, compiles bench/ to build/ and runs it (docs/performance.md).
 *
 *     --rounds N           interleaved rounds of the lab (default 5)
 *     --seconds N          length of one measurement (default 3)
 *     --heap-seconds N     length of the run in which the heap is observed (default 60)
 *     --only NAMES         cells, groups or parts, separated by commas; an unknown name prints the
 *                          list. `floods` runs only by name (docs/reliability.md)
 *     --peers              also compare with Open vSwitch, fastd and tinc; installs them with apt
 *                          where possible
 *     --short              one round of one second: a smoke test of the benchmark
 *     --save               write tables and pictures into docs/performance.md and docs/performance/
 *     --from FILE          show, or save, an earlier result of bench/results instead of measuring
 */
import { parseArgs } from 'node:util';
import { ensureTools } from './os-tools.mjs';
import { needRoot, node, setUp } from './set-up.mjs';

const LAB_TOOLS = ['ip', 'bridge', 'ping', 'iperf3', 'ethtool'];
const PEER_TOOLS = ['ovs-vswitchd', 'fastd', 'tincd'];
/** Parts that run without network namespaces. */
const NEEDS_NO_ROOT = ['micro', 'memory'];

const args = process.argv.slice(2);
// bench/options.ts validates the flags; here the flags decide which tools are needed.
const { values } = parseArgs({
  args,
  strict: false,
  options: { only: { type: 'string' }, from: { type: 'string' }, peers: { type: 'boolean' } },
});
const only = values.only?.split(',');
const needsLab = values.from === undefined && !only?.every((name) => NEEDS_NO_ROOT.includes(name));

if (needsLab) needRoot('npm run bench');
setUp({ tools: needsLab ? LAB_TOOLS : [] });
if (values.peers || only?.includes('peers')) reportMissing(ensureTools(PEER_TOOLS));
if (node('node_modules/typescript/bin/tsc', '-p', 'bench').status !== 0) process.exit(1);
process.exitCode = node('build/bench/main.js', ...args).status ?? 1;

/** Reports missing overlays; the benchmark continues without them. */
function reportMissing(complaint) {
  if (complaint !== undefined) console.error(complaint);
}
