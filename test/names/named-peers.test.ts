/** Named peers with a fake name server and a configuration that records the calls of `follow`. */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Events, type VtepEvent } from '../../src/exchange/events.js';
import { silentLogger } from '../../src/log/log.js';
import {
  type ConfiguredHost,
  type Following,
  NamedPeers,
  type PeerLists,
} from '../../src/names/named-peers.js';
import { eventually } from '../support/wait.js';

function makePeers(t: Test) {
  const zone = new Map<string, string[]>();
  const none = () => Promise.reject(Object.assign(new Error('none'), { code: 'ENOTFOUND' }));
  const events = new Events();
  const own = new Set<string>();
  const unreachable = new Set<string>();
  const hosts: ConfiguredHost[] = [];
  let applied = 0;
  const peers = new NamedPeers({
    log: silentLogger(),
    events,
    isOwn: ({ text }) => own.has(text),
    reaches: async ({ text }) => !unreachable.has(text),
    applied: () => void applied++,
    source: { addresses: async (name) => zone.get(name) ?? none(), records: none },
  });
  t.teardown(() => peers.stop());
  const followed: [string, string[]][] = [];
  let failing = false;
  const configuration: Following = {
    hosts: () => hosts,
    follow: async (name, addresses) => {
      if (failing) throw new Error('the data plane is being restarted');
      const all = hosts.some((peer) => peer.host === name && peer.all);
      followed.push([name, (await peers.resolve(name, all)).map(({ text }) => text)]);
      t.same(
        addresses(all).map(({ text }) => text),
        followed.at(-1)![1],
      );
    },
  };
  const rows = [
    { name: 'a.example', address: { text: '198.51.100.1' } },
    { name: '', address: { text: '198.51.100.2' } },
  ];
  const lists: PeerLists = { vnis: () => [{ vni: 100 }], peers: () => rows };
  const attach = () => peers.attach(lists, configuration);
  const fail = (on: boolean) => {
    failing = on;
  };
  return { peers, zone, events, followed, attach, fail, own, unreachable, hosts, applied: () => applied };
}

t.test('applies addresses resolved before the VTEP runs as soon as it runs', async (t) => {
  const { peers, zone, followed, attach } = makePeers(t);
  zone.set('a.example', ['198.51.100.1']);
  t.match(await peers.resolve('a.example'), [{ text: '198.51.100.1' }]);
  t.same(followed, []);
  attach();
  await eventually('the name to be followed', () => followed.length === 1);
  t.same(followed, [['a.example', ['198.51.100.1']]]);
});

t.test('retries changes that the data plane refuses', async (t) => {
  const { peers, zone, followed, attach, fail } = makePeers(t);
  attach();
  fail(true);
  zone.set('a.example', ['198.51.100.1']);
  zone.set('b.example', ['198.51.100.2']);
  await Promise.all([peers.resolve('a.example'), peers.resolve('b.example')]);
  await delay(20);
  t.same(followed, []);
  fail(false);
  await eventually('both names to be followed', () => followed.length === 2);
  t.same(followed.map(([name]) => name).sort(), ['a.example', 'b.example']);
});

t.test('rejects a new peer whose name does not resolve', async (t) => {
  const { peers } = makePeers(t);
  const work = () => t.fail('the peer is added');
  await t.rejects(
    peers.adding({ host: 'none.example' }, async () => work()),
    { name: 'ResolveError', message: /cannot resolve "none\.example": no such name/ },
  );
  await t.rejects(
    peers.adding({ host: '10.1' }, async () => work()),
    { message: /neither an address nor a name/ },
  );
});

t.test('follows a name while its peer is being added', async (t) => {
  const { peers, zone } = makePeers(t);
  zone.set('a.example', ['198.51.100.1']);
  const addresses = await peers.adding({ host: 'a.example' }, async () => {
    peers.retain([]);
    return peers.names.addresses('a.example');
  });
  t.match(addresses, [{ text: '198.51.100.1' }]);
  peers.retain([]);
  t.same(peers.names.states(), []);
});

t.test('an address is a peer while it is not an address of this host', async (t) => {
  const { peers, zone, followed, attach, own, hosts, applied } = makePeers(t);
  zone.set('all.example', ['198.51.100.1', '198.51.100.2']);
  hosts.push({ host: '198.51.100.1' }, { host: '198.51.100.9' }, { host: 'all.example', all: true });
  own.add('198.51.100.9');
  for (const { host, all } of hosts) await peers.resolve(host, all);
  attach();
  await eventually('the name to be followed', () => followed.length === 1);
  followed.length = 0;
  own.delete('198.51.100.9');
  own.add('198.51.100.1');
  peers.review();
  await eventually('three hosts to be followed', () => followed.length === 3);
  t.same(followed, [
    ['198.51.100.1', []],
    ['198.51.100.9', ['198.51.100.9']],
    ['all.example', ['198.51.100.2']],
  ]);
  await eventually('the end to be reported', () => applied() > 0);
  peers.review();
  t.equal(followed.length, 3, 'a host that is the same is not followed again');
});

t.test('addresses of this host that change during the start are applied when the VTEP runs', async (t) => {
  const { peers, followed, attach, own, hosts } = makePeers(t);
  hosts.push({ host: '198.51.100.1' });
  await peers.resolve('198.51.100.1');
  own.add('198.51.100.1');
  peers.review();
  t.same(followed, []);
  attach();
  await eventually('the host to be followed', () => followed.length === 1);
  t.same(followed, [['198.51.100.1', []]]);
});

t.test('a name moves to its other address when the first one loses its route', async (t) => {
  const { peers, zone, followed, attach, unreachable, hosts } = makePeers(t);
  zone.set('far.example', ['2001:db8::1', '198.51.100.1']);
  hosts.push({ host: 'far.example' });
  attach();
  t.match(await peers.resolve('far.example'), [{ text: '2001:db8::1' }]);
  await eventually('the name to be followed', () => followed.length === 1);
  unreachable.add('2001:db8::1');
  await peers.networkChanged();
  await eventually('the name to be followed again', () => followed.length === 2);
  unreachable.clear();
  await peers.networkChanged();
  await eventually('the name to be followed once more', () => followed.length === 3);
  t.same(
    followed.map(([, addresses]) => addresses),
    [['2001:db8::1'], ['198.51.100.1'], ['2001:db8::1']],
  );
});

t.test('publishes events for silent and for active peers', async (t) => {
  const { peers, events, attach } = makePeers(t);
  attach();
  const published: VtepEvent[] = [];
  const subscription = events.subscribe();
  t.teardown(() => subscription.close());
  void (async () => {
    for await (const { event } of subscription) published.push(event);
  })();
  const signs = (lastSeenMs: number) =>
    ['198.51.100.1', '198.51.100.2'].map((text) => ({ peer: { text }, txFrames: 1, lastSeenMs }));
  peers.checked(signs(0));
  peers.checked(signs(7));
  await eventually('both peers to be reported', () => published.length >= 2);
  t.same(published, [
    { type: 'peer', vni: 100, peer: '198.51.100.1', name: 'a.example', action: 'heard' },
    { type: 'peer', vni: 100, peer: '198.51.100.2', name: '', action: 'heard' },
  ]);
});
