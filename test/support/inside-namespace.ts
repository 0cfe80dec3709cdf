/**
 * Runs a test file again inside a network namespace of its own.
 *
 * Tests of a single port that create network devices use it: the names of the devices cannot
 * collide, and the devices disappear with the namespace. It requires root. Labs with several hosts
 * use `lab.ts`.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

const INSIDE = 'VTEPD_TEST_INSIDE_NAMESPACE';
const LIMIT_MS = 25_000;

/**
 * @param file `import.meta.url` of the test
 * @param setUp `ip` commands, one per line
 * @param body test body; runs inside, after the commands
 */
export async function insideNamespace(
  t: Test,
  file: string,
  setUp: string,
  body: () => Promise<void>,
): Promise<void> {
  if (process.env[INSIDE] !== undefined) {
    const made = spawnSync('ip', ['-batch', '-'], { input: setUp, encoding: 'utf8' });
    t.equal(made.stderr, '', 'ip creates the devices');
    await body();
    return;
  }
  if (process.getuid?.() !== 0) {
    t.pass('the test passes inside the namespace', { skip: 'requires root' });
    return;
  }
  const command = ['--net', process.execPath, ...process.execArgv, fileURLToPath(file)];
  const env = { ...process.env, [INSIDE]: '1' };
  const { status, stdout, stderr } = spawnSync('unshare', command, {
    env,
    encoding: 'utf8',
    timeout: LIMIT_MS,
  });
  if (status !== 0) t.comment(stdout + stderr);
  t.equal(status, 0, 'the test passes inside the namespace');
}
