import t from 'tap';
import { Rollback } from '../../src/host/rollback.js';

t.test('a step that fails does not prevent the others from running, and is reported', async (t) => {
  const undo = new Rollback();
  const ran: string[] = [];
  undo.push(() => void ran.push('first'));
  undo.push(() => {
    throw new Error('second broke');
  });
  undo.push(async () => {
    throw new Error('third broke');
  });
  undo.push(async () => void ran.push('last'));
  await t.rejects(undo.run(), {
    name: 'HostError',
    message: 'could not clean up: third broke; second broke',
  });
  t.strictSame(ran, ['last', 'first'], 'the step registered last runs first');
});

t.test('a second run does nothing', async (t) => {
  const undo = new Rollback();
  let runs = 0;
  undo.push(() => void runs++);
  await undo.run();
  await undo.run();
  t.equal(runs, 1);
});

t.test('failed work is reverted and its error thrown, even if the cleanup fails too', async (t) => {
  const undo = new Rollback();
  let undone = false;
  const work = async () => {
    undo.push(() => void (undone = true));
    undo.push(() => {
      throw new Error('cleanup');
    });
    throw new Error('the cause');
  };
  await t.rejects(undo.guard(work), new Error('the cause'));
  t.ok(undone);
});

t.test('successful work is not reverted', async (t) => {
  const undo = new Rollback();
  let undone = false;
  const done = await undo.guard(async () => {
    undo.push(() => void (undone = true));
    return 'done';
  });
  t.equal(done, 'done');
  t.notOk(undone);
  await undo.run();
  t.ok(undone);
});
