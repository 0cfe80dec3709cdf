/**
 * `npm test`: sets up, then every test there is: types, those of single modules, then the labs, some side by side, some alone.
 * Fails as well when a test of test/lab/list.json did not run, or was skipped: a lab that can't run proves nothing.
 * The last line is `N passed, N failed`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileTests, runTests, testFiles } from './run-tests.mjs';
import { needRoot, root, setUp } from './set-up.mjs';

/** Limit of a process, which may run all files of a folder. On a loaded machine they take four times as long. */
const UNIT_TIMEOUT_S = 900;
const LAB_TIMEOUT_S = 900;
/** They wait more than they work, labs at least: three keep two cores busy. */
const AT_ONCE = 3;

needRoot('npm test');
const TOOLS = [
  'ip',
  'bridge',
  'ping',
  'tcpdump',
  'iperf3',
  'openssl',
  'curl',
  'ethtool',
  'nft',
  'dnsmasq',
  'tc',
];
const FAULT_TOOLS = ['faketime'];
const SERVICE_TOOLS = ['setpriv', 'nsenter', 'systemd-analyze', 'systemd-nspawn'];
const MONITORING_TOOLS = ['prometheus', 'promtool'];
const TUNNEL_TOOLS = ['wireguard-go', 'wg'];
const PAGE_AND_SHELL_TOOLS = ['mandoc', 'groff', 'zsh', 'script'];

setUp({
  tools: [
    ...TOOLS,
    ...FAULT_TOOLS,
    ...SERVICE_TOOLS,
    ...TUNNEL_TOOLS,
    ...PAGE_AND_SHELL_TOOLS,
    ...MONITORING_TOOLS,
  ],
});

const types = { file: 'test', name: 'types of src, test and bench', ok: compileTests(), skipped: false };
const { units, labs, labsAlone } = testFiles();
const unitResults = await runTests(units, { jobs: AT_ONCE, timeoutS: UNIT_TIMEOUT_S });
const labResults = [
  ...(await runTests(labs, { jobs: AT_ONCE, timeoutS: LAB_TIMEOUT_S })),
  ...(await runTests(labsAlone, { jobs: 1, timeoutS: LAB_TIMEOUT_S })),
];
const missing = missingTests(unitResults, labResults);
for (const name of missing) console.log(`FAIL list of labs: ${name}`);

const results = [types, ...unitResults, ...labResults];
const passed = results.filter((result) => result.ok).length;
const failed = results.filter((result) => !result.ok && !result.skipped).length + missing.length;
const skipped = results.filter((result) => result.skipped);
for (const { file, name } of skipped) console.log(`skipped: ${file}: ${name}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** Tests of the list that did not run: labs, and those that a tool reads along; and labs that ran but are not in it. */
function missingTests(units, labs) {
  const list = JSON.parse(readFileSync(join(root, 'test/lab/list.json'), 'utf8'));
  const listed = Object.entries(list).flatMap(([file, names]) => names.map((name) => `${file}: ${name}`));
  const names = (ran) => ran.filter(({ skipped }) => !skipped).map(({ file, name }) => `${file}: ${name}`);
  const seen = names([...units, ...labs]);
  const unlisted = names(labs)
    .filter((name) => !listed.includes(name))
    .map((name) => `${name} (not in test/lab/list.json)`);
  return [...listed.filter((name) => !seen.includes(name)), ...unlisted];
}
