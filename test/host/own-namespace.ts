/**
 * Runs the importing test file in its own network namespace. A test file imports this module first,
 * only for this effect.
 *
 * The test file runs again in a child process. The namespace ends with that process, together with
 * all its devices. The code of src/host acts on the namespace of its process, so its tests have to
 * run inside the namespace. Needs root and unshare(1).
 */
import { spawnSync } from 'node:child_process';

const MARK = 'VTEPD_TEST_OWN_NETNS';

if (process.env[MARK] === undefined) {
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { status, error } = spawnSync('unshare', ['--net', ...again], {
    stdio: 'inherit',
    env: { ...process.env, [MARK]: '1' },
  });
  if (error) throw error;
  process.exit(status ?? 1);
}
