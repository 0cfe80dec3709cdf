/**
 * The shim's own tests and its checks of kernel behaviour, written in C.
 *
 * `native-shims/test/run` builds and runs them. Each program has a line in the output, which must
 * begin with "ok". This test therefore fails if a program fails or is missing.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import t from 'tap';

const folder = new URL('../../native-shims/test/', import.meta.url).pathname;
const sources = (path: string) => readdirSync(path).filter((name) => name.endsWith('.c'));
const targets = sources(`${folder}fuzz/`).filter((name) => name !== 'replay.c');
const programs = [
  ...[...sources(folder), ...sources(`${folder}requirements/`)],
  ...targets.map((name) => `fuzz/${name}`),
].map((name) => name.slice(0, -'.c'.length));

t.test('native-shims/test/run', { timeout: 800_000 }, async (t) => {
  const { status, stdout, stderr } = spawnSync(`${folder}run`, { encoding: 'utf8' });
  const lines = stdout.split('\n');
  t.ok(programs.length >= 10, 'the programs exist');
  for (const name of programs) {
    const line = lines.find((text) => new RegExp(`^(not )?ok \\d+ - ${name}\\b`).test(text)) ?? '';
    const [, reason] = / # SKIP (.*)/.exec(line) ?? [];
    t.match(line, /^ok /, `${name} passes`, { skip: reason ?? false });
  }
  if (!t.equal(status, 0, stderr)) t.comment(stdout);
});
