/** The token file: invalid contents, unsafe contents, and valid ones. */
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

t.test('an unusable token file is refused with a remedy', async (t) => {
  t.throws(() => readTokenFile(join(dir, 'none')), {
    message: /none: cannot be read \(ENOENT.*the file must exist/,
  });
  t.throws(() => readTokenFile(dir), { message: /cannot be read \(EISDIR/ });
  t.throws(() => readTokenFile(file('\n')), {
    message: /^--api-token-file .*: is empty; .*openssl rand -hex 32/,
  });
  t.throws(() => readTokenFile(file('two words')), { message: /must contain one line of/ });
  t.throws(() => readTokenFile(file('x'.repeat(5000))), { message: /more than 4096 bytes/ });
  t.throws(
    () => readTokenFile('/dev/zero'),
    { message: /more than 4096 bytes/ },
    'an endless file is refused',
  );
});

t.test('a token is read, with a warning if it is unsafe', async (t) => {
  const token = 'a'.repeat(64);
  t.same(readTokenFile(file(`${token}\n`)), { token, warnings: [] });
  t.match(readTokenFile(file(token, 0o644)).warnings, [
    {
      code: 'token_unsafe',
      detail: /every user of this machine can read the token$/,
      why: /can change VNIs and peers$/,
      cure: /chmod 640 .*; then restart vtepd$/,
    },
  ]);
  t.match(readTokenFile(file('short')).warnings, [
    { code: 'token_unsafe', detail: /5 characters can be guessed$/, cure: /openssl rand -hex 32 > / },
  ]);
});
