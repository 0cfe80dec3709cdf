/** State file: creation, replacement, locking and refusal. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { loadShim } from '../../src/abi/binding.js';
import { ConfigError } from '../../src/config/config-error.js';
import { withEntry } from '../../src/config/edits.js';
import { NO_STATE, type State } from '../../src/config/state.js';
import { load, StateError, StateFile } from '../../src/config/state-file.js';
import { writeState } from '../../src/config/text.js';

const shim = loadShim();
const open = (path: string) => StateFile.open(path, (fd) => shim.fileLock(fd));
const state = (entries: number): State => {
  let made = NO_STATE;
  for (let i = 0; i < entries; i++) made = withEntry(made, 1, `02:00:00:00:00:0${i}`, '192.0.2.1');
  return made;
};

t.test('the file is created with its directory and replaced atomically', async (t) => {
  const path = `${t.testdir()}/a/b/state.json`;
  const file = await open(path);
  t.strictSame(file.state, NO_STATE);
  const prepared = await file.prepare(state(2));
  t.notOk(existsSync(path), 'no file exists before the commit');
  await prepared.commit();
  t.strictSame(await load(path), state(2));
  const discarded = await file.prepare(state(3));
  await discarded.discard();
  t.strictSame(await load(path), state(2));
  await file.close();
  const again = await open(path);
  t.strictSame(again.state, state(2));
  await again.close();
});

t.test('a failed sync of the directory restores the previous state', async (t) => {
  const path = `${t.testdir()}/state.json`;
  let broken = false;
  const sync = () =>
    broken ? Promise.reject(Object.assign(new Error('I/O error'), { code: 'EIO' })) : Promise.resolve();
  const file = await StateFile.open(path, (fd) => shim.fileLock(fd), sync);
  t.teardown(() => file.close());
  await (await file.prepare(state(1))).commit();
  broken = true;
  const prepared = await file.prepare(state(2));
  await t.rejects(prepared.commit(), {
    name: 'StateError',
    message: /cannot open or write the state file \(EIO\)/,
  });
  await prepared.discard();
  t.strictSame(await load(path), state(1));
  broken = false;
  await (await file.prepare(state(3))).commit();
  t.strictSame(await load(path), state(3));
});

t.test('a symbolic link is followed, not replaced', async (t) => {
  const dir = t.testdir({ 'real.json': writeState(state(1)) });
  symlinkSync('real.json', `${dir}/state.json`);
  const file = await open(`${dir}/state.json`);
  t.strictSame(file.state, state(1));
  await (await file.prepare(state(2))).commit();
  await file.close();
  t.strictSame(await load(`${dir}/real.json`), state(2));
});

t.test('a second daemon is refused until the first has closed the file', async (t) => {
  const path = `${t.testdir()}/state.json`;
  const first = await open(path);
  const error = await t.rejects(open(path), {
    name: 'StateError',
    notPermitted: false,
    message: `--state ${path}: in use by another vtepd; use another file with --state FILE, or disable it with --state off`,
  });
  t.type(error, Error);
  await first.close();
  await (await open(path)).close();
});

t.test('an invalid state file is refused with its line and not modified', async (t) => {
  for (const text of [
    '{"format": "vtepd-state-1",\n "vnis": {"1": {"changed": {"mtu": 1}}}}',
    'hosts: []',
    '{',
  ]) {
    const path = `${t.testdir()}/state.json`;
    writeFileSync(path, text);
    await t.rejects(open(path), {
      message: /^--state \S+state\.json:\d+: .*; repair the file or move it away; vtepd did not change it/,
    });
    t.equal(readFileSync(path, 'utf8'), text);
    t.type(await open(path).catch((error) => error), ConfigError, 'the failed attempt leaves no lock');
  }
});

t.test('an unusable path is refused', async (t) => {
  const dir = t.testdir({ file: '' });
  const cure = 'use another file with --state FILE, or disable it with --state off';
  await t.rejects(open(`${dir}/file/a/state.json`), {
    notPermitted: true,
    message: `--state ${dir}/file/a/state.json: cannot open or write the state file (ENOTDIR); ${cure}`,
  });
  mkdirSync(`${dir}/folder`);
  t.type(await open(`${dir}/folder`).catch((error) => error), StateError, 'a directory is refused');
});
