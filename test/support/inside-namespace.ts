/**
 * Runs a test file again in a network namespace of its own, for tests of a single port that need devices: no name
 * can meet another, and nothing stays behind. Takes root; whole hosts are the labs' business (`lab.ts`).
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

const INSIDE = 'VTEPD_TEST_INSIDE_NAMESPACE';
const LIMIT_MS = 25_000;

/**
 * @param file `import.meta.url` of the test
 * @param setUp `ip` commands, one a line
 * @param body runs inside, after them
 */
export async function insideNamespace(
  t: Test,
  file: string,
  setUp: string,
  body: () => Promise<void>,
): Promise<void> {
  if (process.env[INSIDE] !== undefined) {
    const made = spawnSync('ip', ['-batch', '-'], { input: setUp, encoding: 'utf8' });
    t.equal(made.stderr, '', 'the devices are made');
    await body();
    return;
  }
  if (process.getuid?.() !== 0) {
    t.pass('a network namespace', { skip: 'takes root' });
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
  t.equal(status, 0, 'all is well in the namespace');
}
