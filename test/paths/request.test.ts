import t from 'tap';
import { Exchange } from '../../src/paths/request.js';

const ARRIVED = { kind: 'arrived' } as const;

t.test('a request that cannot be sent completes at once', async (t) => {
  const exchange = new Exchange();
  const refused = { kind: 'too-big', mtu: 0 } as const;
  t.same(await exchange.ask('a', false, () => refused), refused);
});

t.test('a reply to another request is ignored', async (t) => {
  const exchange = new Exchange();
  exchange.complete('a', ARRIVED);
  const asked = exchange.ask('b', false, () => {
    exchange.complete('a', ARRIVED);
    return undefined;
  });
  t.same(await asked, { kind: 'silent' });
});

t.test('a reply after the timeout does not complete the next request', async (t) => {
  const exchange = new Exchange();
  await exchange.ask('a', false, () => void exchange.complete('a', ARRIVED));
  t.same(await exchange.ask('b', false, () => undefined), { kind: 'silent' });
  const next = exchange.ask('c', false, () => undefined);
  exchange.complete('b', ARRIVED);
  t.same(await next, { kind: 'silent' });
});

t.test('the timeout adapts to the path: short after fast replies, never above one second', async (t) => {
  let nowMs = 0;
  const exchange = new Exchange(() => nowMs);
  const silence = async (patient = false) => {
    const startMs = performance.now();
    t.same(await exchange.ask('?', patient, () => undefined), { kind: 'silent' });
    return performance.now() - startMs;
  };
  const answerAfter = (ms: number) =>
    exchange.ask('a', false, () => {
      nowMs += ms;
      exchange.complete('a', ARRIVED);
      return undefined;
    });
  t.ok((await silence()) >= 950, 'the timeout is one second before the first reply');
  await answerAfter(1);
  const quick = await silence();
  t.ok(quick >= 150 && quick < 950, `the timeout on a fast path is ${quick} ms`);
  t.ok((await silence(true)) >= 950, 'the timeout of a patient request is one second even on a fast path');
  await answerAfter(10_000);
  const slow = await silence();
  t.ok(slow >= 950 && slow < 3000, `the timeout on a slow path is ${slow} ms`);
});
