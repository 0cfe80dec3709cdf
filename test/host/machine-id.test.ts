import { hostname } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { machineId, netnsId } from '../../src/host/machine-id.js';

t.test('the first source with a valid id is used', async (t) => {
  const dir = t.testdir({
    empty: '',
    blank: '\n',
    unborn: 'uninitialized\n',
    good: '3d1219c7c4c5404aaa1f6d2a48adfda4\n',
    other: 'ffffffffffffffffffffffffffffffff\n',
  });
  const at = (...names: string[]) => machineId(names.map((name) => join(dir, name)));
  t.equal(at('missing', 'empty', 'blank', 'unborn', 'good', 'other'), '3d1219c7c4c5404aaa1f6d2a48adfda4');
  t.equal(at('other', 'good'), 'ffffffffffffffffffffffffffffffff');
});

t.test('without any source the id is the host name', async (t) => {
  t.equal(machineId(['/nonexistent/machine-id', t.testdir()]), hostname());
});

t.test('this machine has an id and a network namespace', async (t) => {
  t.not(machineId(), '');
  t.equal(machineId(), machineId());
  t.match(netnsId(), /^\d+$/);
});
