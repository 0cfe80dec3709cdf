/**
 * `npm test`: set-up, then all tests: types, tests of single modules, labs. A skipped test counts
 * as failed, because a lab that cannot run proves nothing. The last line is `N passed, N failed`.
 */
import { needRoot, node, setUp } from './set-up.mjs';

/**
 * Time limit of a process. Some processes run all files of a folder, and on a loaded machine the
 * files need four times as long.
 */
const TIMEOUT_S = 900;
/** Processes at once. Labs mostly wait, so three processes keep two cores busy. */
const JOBS = 3;

const TOOLS = [
  ...['ip', 'bridge', 'ping', 'tcpdump', 'iperf3', 'openssl', 'curl', 'ethtool', 'nft', 'dnsmasq', 'tc'],
  ...['faketime', 'setpriv', 'nsenter', 'systemd-analyze', 'systemd-nspawn', 'prometheus', 'promtool'],
  ...['wireguard-go', 'wg', 'mandoc', 'groff', 'zsh', 'script'],
];

needRoot('npm test');
setUp({ tools: TOOLS });
// Imported here because it needs a package that setUp installs.
const { runTests, summarize, testFiles } = await import('./run-tests.mjs');

const compiled = node('scripts/compile-tests.mjs').status === 0;
const results = [{ file: 'test', name: 'types of src, test and bench', ok: compiled, skipped: false }];
const { units, labs, labsAlone } = testFiles();
results.push(...(await runTests(units, { jobs: JOBS, timeoutS: TIMEOUT_S })));
results.push(...(await runTests(labs, { jobs: JOBS, timeoutS: TIMEOUT_S })));
results.push(...(await runTests(labsAlone, { jobs: 1, timeoutS: TIMEOUT_S })));
process.exitCode = summarize(results) ? 0 : 1;
