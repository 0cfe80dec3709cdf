import { pino } from 'pino';
import t from 'tap';
import { Events } from '../../src/exchange/events.js';
import { Warnings } from '../../src/vtep/warnings.js';

t.test('a warning is reported once, and shown until its last VNI is removed', async (t) => {
  const lines: { code: string }[] = [];
  const events = new Events();
  const subscription = events.subscribe();
  const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const warnings = new Warnings(log, events);
  const details = () => warnings.list.map(({ detail }) => detail);
  warnings.warn('offload_not_permitted', 'of the machine');
  for (const vni of [1, 2, 1]) warnings.warn('peer_duplicate', 'of both', vni);
  warnings.warn('queues_unsteered', 'of the second', 2);
  t.same(details(), ['of the machine', 'of both', 'of the second']);
  warnings.vniRemoved(1);
  warnings.vniRemoved(3);
  t.same(details(), ['of the machine', 'of both', 'of the second']);
  warnings.vniRemoved(2);
  t.same(details(), ['of the machine']);
  warnings.warn('peer_duplicate', 'of both', 1);
  t.same(details(), ['of the machine', 'of both'], 'a withdrawn warning can be added again');
  warnings.replace('peer_duplicate', ['of both'], 2);
  warnings.replace('peer_duplicate', ['of one'], 1);
  t.same(details(), ['of the machine', 'of both', 'of one'], 'a warning stays while another VNI has it');
  warnings.replace('peer_duplicate', [], 2);
  t.same(details(), ['of the machine', 'of one'], 'a warning that no VNI has is withdrawn');
  events.publish({ type: 'vni', vni: 1, action: 'removed' });
  const published: string[] = [];
  for await (const { event } of subscription) {
    if (event.type !== 'warning') break;
    published.push(event.code);
  }
  const codes = [
    'offload_not_permitted',
    'peer_duplicate',
    'queues_unsteered',
    'peer_duplicate',
    'peer_duplicate',
  ];
  t.same(published, codes);
  t.same(
    lines.map(({ code }) => code),
    codes,
  );
});
