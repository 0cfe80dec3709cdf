/**
 * Set-up in a copy of the scripts, with its own packages or a link to packages of another checkout.
 *
 * Nothing can be installed, because PATH has no npm.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';

const SCRIPTS = new URL('../../scripts/', import.meta.url).pathname;

/** A checkout with packages that are older than its package-lock.json. */
function checkout(t: Test): string {
  const root = t.testdir({ 'package-lock.json': '{}', elsewhere: { node_modules: { tap: 'a package' } } });
  cpSync(SCRIPTS, join(root, 'scripts'), { recursive: true });
  return root;
}

/** Runs `npm run check` in a checkout. */
function check(root: string) {
  return spawnSync(process.execPath, [join(root, 'scripts/check.mjs')], {
    encoding: 'utf8',
    env: { PATH: join(root, 'empty') },
  });
}

t.test('packages behind a symbolic link are not changed', async (t) => {
  const root = checkout(t);
  symlinkSync('elsewhere/node_modules', join(root, 'node_modules'));
  const { status, stdout, stderr } = check(root);
  t.equal(status, 1);
  t.equal(stdout, '', 'no step was started');
  t.match(
    stderr,
    /^\S+\/node_modules is a symbolic link, .*elsewhere\/node_modules.*: remove the link, or .*\n$/,
  );
  t.same(readdirSync(join(root, 'elsewhere/node_modules')), ['tap']);
});

t.test('a dangling symbolic link is refused', async (t) => {
  const root = checkout(t);
  symlinkSync('nowhere', join(root, 'node_modules'));
  const { status, stdout } = check(root);
  t.equal(status, 1);
  t.equal(stdout, '', 'no step was started');
});

t.test('packages are installed to an existing folder or a new one', async (t) => {
  for (const isThere of [true, false]) {
    const root = checkout(t);
    if (isThere) mkdirSync(join(root, 'node_modules'));
    const { stdout, stderr } = check(root);
    t.equal(stdout, 'installing packages (npm ci)\n');
    t.equal(stderr, 'npm ci failed, see above\n');
  }
});

t.test('packages that are not older than package-lock.json are used as they are', async (t) => {
  const root = checkout(t);
  writeFileSync(join(root, 'elsewhere/node_modules/.package-lock.json'), '{}');
  symlinkSync('elsewhere/node_modules', join(root, 'node_modules'));
  t.notMatch(check(root).stderr, /symbolic link/);
});
