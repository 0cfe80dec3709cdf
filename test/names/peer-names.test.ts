import { setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import type { VtepEvent } from '../../src/exchange/events.js';
import { PeerNames } from '../../src/names/peer-names.js';

/**
 * PeerNames with a fake resolver: `zone` has the answers of getaddrinfo, and DNS has no records.
 */
function makeNames(t: Test) {
  const zone = new Map<string, string[]>();
  const events: VtepEvent[] = [];
  const own = new Set(['127.0.0.1', '::1', '198.51.100.9']);
  const changed: string[] = [];
  const lines: { level: number; code?: string; peer: string; msg: string }[] = [];
  const none = () => Promise.reject(Object.assign(new Error('none'), { code: 'ENOTFOUND' }));
  const names = new PeerNames({
    log: pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) }),
    publish: (event) => events.push(event),
    changed: (name) => changed.push(name),
    isOwn: ({ text }) => own.has(text),
    reaches: async () => true,
    source: { addresses: async (name) => zone.get(name) ?? none(), records: none },
  });
  t.teardown(() => names.stop());
  return { names, zone, events, changed, lines, own };
}

t.test('rejects a host that is neither an address nor a name', async (t) => {
  const { names } = makeNames(t);
  await t.rejects(names.resolve('10.1'), { message: /neither an address nor a name/ });
});

t.test('an address resolves to itself, without an event', async (t) => {
  const { names, events } = makeNames(t);
  t.match(await names.resolve('198.51.100.1'), [{ text: '198.51.100.1' }]);
  t.same(names.states(), []);
  t.same(events, []);
});

t.test('an unresolved name causes a warning, an event and one log line, until it resolves', async (t) => {
  const { names, zone, events, changed, lines } = makeNames(t);
  t.same(await names.resolve('vtep.example'), []);
  t.match(names.reports(), [
    {
      code: 'peer_unresolved',
      detail: /^cannot resolve "vtep\.example": no such name/,
      why: /until the name resolves$/,
      cure: /DNS or the hosts file/,
    },
  ]);
  t.match(events, [{ type: 'resolve', name: 'vtep.example', addresses: [], error: /no such name/ }]);
  t.match(lines, [{ level: 40, code: 'peer_unresolved', peer: 'vtep.example' }]);
  zone.set('vtep.example', ['198.51.100.1', '198.51.100.2']);
  names.retain([]);
  t.match(await names.resolve('vtep.example', true), [{ text: '198.51.100.1' }, { text: '198.51.100.2' }]);
  t.same(names.reports(), []);
  t.same(events.slice(1), [
    { type: 'resolve', name: 'vtep.example', addresses: ['198.51.100.1', '198.51.100.2'], error: '' },
  ]);
  t.same(changed, ['vtep.example']);
});

t.test('an address of this host is not a peer', async (t) => {
  const { names, zone, own } = makeNames(t);
  zone.set('all.example', ['127.0.0.1', '::1', '198.51.100.1']);
  const texts = async (all: boolean) => (await names.resolve('all.example', all)).map(({ text }) => text);
  t.same(await texts(true), ['198.51.100.1']);
  t.same(await texts(false), ['198.51.100.1'], 'nor is it chosen for a name that stands for one host');
  t.same(await names.resolve('198.51.100.9'), [], 'nor is an address that is configured as such');
  own.add('198.51.100.1');
  t.same(await texts(true), []);
  t.match(names.allAddresses('all.example'), [{}, {}, { text: '198.51.100.1' }]);
});

t.test('a name that stands for one host has one address, which rotation does not change', async (t) => {
  const { names, zone, events, changed } = makeNames(t);
  zone.set('far.example', ['198.51.100.1', '198.51.100.2']);
  t.match(await names.resolve('far.example'), [{ text: '198.51.100.1' }]);
  t.equal((await names.resolve('far.example')).length, 1);
  t.same(events, [
    { type: 'resolve', name: 'far.example', addresses: ['198.51.100.1', '198.51.100.2'], error: '' },
  ]);
  t.same(changed, ['far.example']);
});

t.test('forgets names that are not in use any more', async (t) => {
  const { names, zone } = makeNames(t);
  zone.set('a.example', ['198.51.100.1']);
  zone.set('b.example', ['198.51.100.2']);
  await Promise.all(['a.example', 'b.example'].map((name) => names.resolve(name)));
  names.retain(['b.example', '198.51.100.7']);
  await turn();
  t.match(names.states(), [{ name: 'b.example' }]);
  t.same(names.addresses('a.example'), []);
});

t.test('reports a forgotten name again when it is used again', async (t) => {
  const { names, events, lines } = makeNames(t);
  for (const times of [1, 2]) {
    t.same(await names.resolve('vtep.example'), []);
    t.equal(events.length, times);
    t.equal(lines.length, times);
    names.retain([]);
  }
});

t.test('forgetting a name resets its log limit', async (t) => {
  const { names, lines } = makeNames(t);
  for (let time = 0; time < 20; time++) {
    await names.resolve('lost.example');
    names.retain([]);
  }
  t.equal(lines.filter(({ level }) => level === 40).length, 20);
});
