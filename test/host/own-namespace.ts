/**
 * Imported for its effect, first of all: runs the importing test file again in a network namespace of its own, which
 * ends with its process and takes every device in it along, whatever happens. The code of src/host acts on the
 * namespace it runs in, so its labs cannot reach into one from outside. Needs root and unshare(1).
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
