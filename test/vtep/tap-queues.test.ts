import t from 'tap';
import { Counters, V_TAP_QUEUE_DROPPED } from '../../src/exchange/counters.js';
import type { VniState } from '../../src/exchange/data-plane.js';
import { TapQueues } from '../../src/vtep/tap-queues.js';

t.test('drops at the queue of a TAP are counted from the start of its VNI', async (t) => {
  const dropped = new Map([
    ['one', 1000],
    ['two', 0],
  ]);
  const queues = new TapQueues({ deviceTxDropped: (name) => dropped.get(name) ?? -19 });
  const counters = new Counters(2, 1);
  const vnis = ['one', 'two'].map((tap, vniIdx) => ({ tap, vniIdx }) as VniState);
  const read = () => {
    queues.check({ vnis: () => vnis, counters: [counters] });
    return [0, 1].map((vniIdx) => counters.cells[counters.vniBase(vniIdx) + V_TAP_QUEUE_DROPPED]);
  };
  queues.opened([
    { name: 'one', queueDroppedBefore: 1000 },
    { name: 'two', queueDroppedBefore: 0 },
  ]);
  t.same(read(), [0, 0], 'earlier drops are not counted');
  dropped.set('one', 1007).set('two', 3);
  t.same(read(), [7, 3]);
  dropped.delete('one');
  t.same(read(), [7, 3], 'a missing device changes nothing');
  dropped.set('one', 5);
  t.same(read(), [12, 3], 'a recreated device starts at zero, and the count continues');
  queues.opened([{ name: 'two', queueDroppedBefore: 3 }]);
  t.same(read(), [12, 0], 'a VNI that is added again starts at zero');
  const [one] = vnis.splice(0, 1);
  read();
  vnis.unshift(one);
  dropped.set('one', 50);
  t.same(read(), [12, 0], 'the count of a VNI that was removed is not continued');
});
