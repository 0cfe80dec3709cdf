import t from 'tap';
import { ERRNO } from '../../src/abi/errno.js';
import { Counters, V_TAP_QUEUE_DROPPED } from '../../src/exchange/counters.js';
import type { VniState } from '../../src/exchange/data-plane.js';
import { TapQueues } from '../../src/vtep/tap-queues.js';

/** Interface indexes. */
const [ONE, TWO] = [7, 8];

t.test('drops at the queue of a TAP are counted from the start of its VNI', async (t) => {
  const dropped = new Map([
    [ONE, 1000],
    [TWO, 0],
  ]);
  const queues = new TapQueues({ deviceTxDropped: (index) => dropped.get(index) ?? -ERRNO.ENODEV });
  const counters = new Counters(2, 1);
  const vnis = ['one', 'two'].map((tap, vniIdx) => ({ tap, vniIdx }) as VniState);
  const read = () => {
    queues.check({ vnis: () => vnis, counters: [counters] });
    return [0, 1].map((vniIdx) => counters.cells[counters.vniBase(vniIdx) + V_TAP_QUEUE_DROPPED]);
  };
  queues.opened([
    { name: 'one', index: ONE, queueDroppedBefore: 1000 },
    { name: 'two', index: TWO, queueDroppedBefore: 0 },
  ]);
  t.same(read(), [0, 0], 'earlier drops are not counted');
  dropped.set(ONE, 1007).set(TWO, 3);
  t.same(read(), [7, 3]);
  dropped.delete(ONE);
  t.same(read(), [7, 3], 'a missing device changes nothing');
  dropped.set(ONE, 5);
  t.same(read(), [12, 3], 'a recreated device starts at zero, and the count continues');
  queues.opened([{ name: 'two', index: TWO, queueDroppedBefore: 3 }]);
  t.same(read(), [12, 0], 'a VNI that is added again starts at zero');
  const [one] = vnis.splice(0, 1);
  read();
  vnis.unshift(one);
  dropped.set(ONE, 50);
  t.same(read(), [12, 0], 'the count of a VNI that was removed is not continued');
});
