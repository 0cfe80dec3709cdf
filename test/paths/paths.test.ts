import t from 'tap';
import { Paths } from '../../src/paths/paths.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';
import { openMachine } from '../support/machine.js';

const peer = (host: string, flood = true) => ({ host, port: 4789, flood });

const SETTINGS = { local: [], underlayDev: '', fwmark: 0 };

t.test('a list that is passed twice resolves to one list, and each list keeps its order', async (t) => {
  const paths = new Paths(SETTINGS, await openMachine(t));
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
  const addresses = async (host: string) => [parseIpAddress(host === 'a.example' ? '127.0.0.1' : host)!];
  const paths = new Paths(SETTINGS, await openMachine(t), addresses);
  const [list] = await paths.resolvePeers([[peer('127.0.0.1'), peer('127.0.0.2'), peer('a.example', false)]]);
  t.match(list, [{ flood: true }, { flood: true }]);
  t.equal(list.length, 2);
  t.same(paths.duplicates(list), [{ address: '127.0.0.1', first: '127.0.0.1', again: 'a.example' }]);
});

t.test('an unresolvable name fails all lists', async (t) => {
  const paths = new Paths(SETTINGS, await openMachine(t));
  await t.rejects(paths.resolvePeers([[peer('127.0.0.1'), peer('no such name')]]), {
    name: 'ResolveError',
    message: /no such name/,
  });
});

t.test('an error about a missing scope names peer, device and cure', async (t) => {
  const paths = new Paths(SETTINGS, await openMachine(t));
  await t.rejects(paths.resolvePeers([[peer('fe80::1%eth77')]]), {
    name: 'HostError',
    message: 'peer fe80::1%eth77: network device eth77 does not exist: check the name after "%"',
  });
});

t.test('a scope of the data plane is shown by the name of its device', async (t) => {
  const machine = await openMachine(t);
  const paths = new Paths(SETTINGS, machine);
  const { bytes } = parseIpAddress('fe80::1')!;
  t.equal(paths.addressText(6, bytes, 0), 'fe80::1');
  t.equal(paths.addressText(6, bytes, machine.get('lo').index), 'fe80::1%lo');
  t.equal(paths.addressText(6, bytes, 2 ** 31 - 1), 'fe80::1%2147483647', 'a device that is gone');
});

t.test('data of a former peer are deleted after a minute', async (t) => {
  const paths = new Paths(SETTINGS, await openMachine(t));
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
