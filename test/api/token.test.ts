/** The token's file: what cannot be one, what is unsafe, what is read. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readTokenFile } from '../../src/api/token.js';

const dir = t.testdir();

function file(content: string, mode = 0o640): string {
  const path = join(dir, 'token');
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

t.test('refused, with the cure', async (t) => {
  t.throws(() => readTokenFile(join(dir, 'none')), {
    message: /none: cannot be read \(ENOENT.*name a readable file/,
  });
  t.throws(() => readTokenFile(dir), { message: /cannot be read \(EISDIR/ });
  t.throws(() => readTokenFile(file('\n')), {
    message: /^--api-token-file .*: is empty; .*openssl rand -hex 32/,
  });
  t.throws(() => readTokenFile(file('two words')), { message: /must hold one line of/ });
  t.throws(() => readTokenFile(file('x'.repeat(5000))), { message: /more than 4096 bytes/ });
  t.throws(() => readTokenFile('/dev/zero'), { message: /more than 4096 bytes/ }, 'a file without end');
});

t.test('read', async (t) => {
  const token = 'a'.repeat(64);
  t.same(readTokenFile(file(`${token}\n`)), { token, warnings: [] });
  t.match(readTokenFile(file(token, 0o644)).warnings, [/every user of this machine may read it: chmod 640/]);
  t.match(readTokenFile(file('short')).warnings, [/5 characters can be guessed/]);
});
