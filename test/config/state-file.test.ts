/** The file of the state: made, replaced, locked, refused. */
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

t.test('made with its folder, replaced as a whole', async (t) => {
  const path = `${t.testdir()}/a/b/state.json`;
  const file = await open(path);
  t.strictSame(file.state, NO_STATE);
  const prepared = await file.prepare(state(2));
  t.notOk(existsSync(path), 'it does not count yet');
  await prepared.commit();
  t.strictSame(await load(path), state(2));
  const given_up = await file.prepare(state(3));
  await given_up.discard();
  t.strictSame(await load(path), state(2));
  await file.close();
  const again = await open(path);
  t.strictSame(again.state, state(2));
  await again.close();
});

t.test('a folder that cannot be synced: what failed does not count, now or later', async (t) => {
  const path = `${t.testdir()}/state.json`;
  let broken = false;
  const sync = () =>
    broken ? Promise.reject(Object.assign(new Error('I/O error'), { code: 'EIO' })) : Promise.resolve();
  const file = await StateFile.open(path, (fd) => shim.fileLock(fd), sync);
  t.teardown(() => file.close());
  await (await file.prepare(state(1))).commit();
  broken = true;
  const prepared = await file.prepare(state(2));
  await t.rejects(prepared.commit(), { name: 'StateError', message: /cannot be kept there \(EIO\)/ });
  await prepared.discard();
  t.strictSame(await load(path), state(1));
  broken = false;
  await (await file.prepare(state(3))).commit();
  t.strictSame(await load(path), state(3));
});

t.test('a link is followed, not replaced', async (t) => {
  const dir = t.testdir({ 'real.json': writeState(state(1)) });
  symlinkSync('real.json', `${dir}/state.json`);
  const file = await open(`${dir}/state.json`);
  t.strictSame(file.state, state(1));
  await (await file.prepare(state(2))).commit();
  await file.close();
  t.strictSame(await load(`${dir}/real.json`), state(2));
});

t.test('two of one file: the second is refused, until the first has ended', async (t) => {
  const path = `${t.testdir()}/state.json`;
  const first = await open(path);
  const error = await t.rejects(open(path), {
    name: 'StateError',
    notPermitted: false,
    message: `--state ${path}: another vtepd keeps its state there; name another file with --state FILE, or keep none with --state off`,
  });
  t.type(error, Error);
  await first.close();
  await (await open(path)).close();
});

t.test('broken or foreign: refused with its line, and left as it is', async (t) => {
  for (const text of [
    '{"format": "vtepd-state-1",\n "vnis": {"1": {"changed": {"mtu": 1}}}}',
    'hosts: []',
    '{',
  ]) {
    const path = `${t.testdir()}/state.json`;
    writeFileSync(path, text);
    await t.rejects(open(path), {
      message: /^--state \S+state\.json:\d+: .*; mend the file or move it away/,
    });
    t.equal(readFileSync(path, 'utf8'), text);
    t.type(await open(path).catch((error) => error), ConfigError, 'not locked by the attempt');
  }
});

t.test('where nothing can be kept', async (t) => {
  const dir = t.testdir({ file: '' });
  const cure = 'name another file with --state FILE, or keep none with --state off';
  await t.rejects(open(`${dir}/file/a/state.json`), {
    notPermitted: true,
    message: `--state ${dir}/file/a/state.json: cannot be kept there (ENOTDIR); ${cure}`,
  });
  mkdirSync(`${dir}/folder`);
  t.type(await open(`${dir}/folder`).catch((error) => error), StateError, 'a folder is no file');
});
