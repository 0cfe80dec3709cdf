import t from 'tap';
import { Paths } from '../../src/paths/paths.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';

const peer = (host: string, flood = true) => ({ host, port: 4789, flood });

t.test('a list that is passed twice resolves to one list, and each list keeps its order', async (t) => {
  const paths = new Paths({ local: [], underlayDev: '' });
  const [one, two, three] = ['127.0.0.1', '127.0.0.2', '::1'].map((host) => peer(host));
  const shared = [one, two];
  const [first, second, third, none] = await paths.resolvePeers([shared, shared, [three, one], []]);
  t.equal(second, first);
  t.same(
    first.map(({ address }) => address.text),
    ['127.0.0.1', '127.0.0.2'],
  );
  t.equal(third[1], first[0], 'a peer of two lists is one object');
  t.match(third[0], { address: { family: 6, text: '::1', port: 4789 }, flood: true, name: '' });
  t.same(none, []);
  t.same(paths.duplicates(first), []);
});

t.test('two hosts with one address become one peer, and are reported', async (t) => {
  const paths = new Paths({ local: [], underlayDev: '' }, async (host) => [
    parseIpAddress(host === 'a.example' ? '127.0.0.1' : host)!,
  ]);
  const [list] = await paths.resolvePeers([[peer('127.0.0.1'), peer('127.0.0.2'), peer('a.example', false)]]);
  t.match(list, [{ flood: true }, { flood: true }]);
  t.equal(list.length, 2);
  t.same(paths.duplicates(list), [{ address: '127.0.0.1', first: '127.0.0.1', again: 'a.example' }]);
});

t.test('an unresolvable name fails all lists', (t) =>
  t.rejects(
    new Paths({ local: [], underlayDev: '' }).resolvePeers([[peer('127.0.0.1'), peer('no such name')]]),
    {
      name: 'ResolveError',
      message: /no such name/,
    },
  ),
);

t.test('data of a former peer are deleted after a minute', async (t) => {
  const paths = new Paths({ local: [], underlayDev: '' });
  await paths.resolvePeers([[peer('127.0.0.1'), peer('127.0.0.2')]]);
  for (const text of ['127.0.0.1', '127.0.0.2']) paths.probed(text, 1400);
  const known = () => ['127.0.0.1', '127.0.0.2'].filter((text) => paths.pathMtu(text) !== undefined);
  const one = new Set(['127.0.0.1']);
  t.same(paths.retain(one, 0), []);
  t.same(paths.retain(one, 59_999), []);
  t.same(known(), ['127.0.0.1', '127.0.0.2'], 'data of a former peer are kept for a while');
  t.same(
    paths.retain(new Set(['127.0.0.1', '127.0.0.2']), 60_000),
    [],
    'nothing is deleted when the address is a peer again',
  );
  t.same(paths.retain(one, 60_001), []);
  t.same(paths.retain(one, 120_001), ['127.0.0.2']);
  t.same(known(), ['127.0.0.1']);
});
