import t from 'tap';
import { lookUp, type NameSource, SYSTEM } from '../../src/names/lookup.js';

type Records = Record<string, number> | string;

/** Results of getaddrinfo, and DNS records by family; a string is the error code of a failure. */
function source(addresses: string[] | string, v4: Records = 'ENODATA', v6: Records = 'ENODATA'): NameSource {
  const failing = (code: string) => Promise.reject(Object.assign(new Error(code), { code }));
  return {
    addresses: () => (typeof addresses === 'string' ? failing(addresses) : Promise.resolve(addresses)),
    records: (_name, family) => {
      const records = family === 4 ? v4 : v6;
      if (typeof records === 'string') return failing(records);
      return Promise.resolve(Object.entries(records).map(([address, ttl]) => ({ address, ttl })));
    },
  };
}

const found = async (from: NameSource) => {
  const { addresses, ttlS, unknown } = await lookUp('vtep.example', from);
  return [addresses.map(({ text }) => text), ttlS, unknown];
};

t.test('the error of a name without addresses contains the cause', async (t) => {
  const rows: [NameSource, RegExp][] = [
    [source('ENOTFOUND'), /^cannot resolve "vtep\.example": no such name; check its spelling/],
    [source('EAI_AGAIN', 'ETIMEOUT', 'ETIMEOUT'), /no name server answered; check \/etc\/resolv\.conf/],
    [source('EAI_SYSTEM'), /^cannot resolve "vtep\.example": EAI_SYSTEM$/],
    [source('EAI_AGAIN', { '192.0.2.1': 60 }), /no name server answered/],
    [source(['224.0.0.1', 'ff02::1', '0.0.0.0', '::']), /has no unicast address/],
  ];
  for (const [from, message] of rows)
    await t.rejects(lookUp('vtep.example', from), { name: 'ResolveError', message });
});

t.test('getaddrinfo provides the addresses, DNS the TTL', async (t) => {
  const both = ['192.0.2.1', '2001:DB8::1'];
  const rows: [string, NameSource, unknown][] = [
    ['DNS', source(both, { '192.0.2.1': 60 }, { '2001:db8::1': 30 }), [['192.0.2.1', '2001:db8::1'], 30, []]],
    ['the hosts file', source(['192.0.2.1'], 'ENOTFOUND', 'ENOTFOUND'), [['192.0.2.1'], undefined, []]],
    ['hosts file and DNS differ', source(['192.0.2.1'], { '192.0.2.2': 60 }), [['192.0.2.1'], undefined, []]],
    [
      'one of two addresses in DNS',
      source(both, { '192.0.2.1': 60 }),
      [['192.0.2.1', '2001:db8::1'], undefined, []],
    ],
    [
      'the order is kept, and a duplicate removed',
      source(['192.0.2.2', '192.0.2.1', '192.0.2.2']),
      [['192.0.2.2', '192.0.2.1'], undefined, []],
    ],
    [
      'unspecified address removed',
      source(['0.0.0.0', '192.0.2.1'], { '192.0.2.1': 0 }),
      [['192.0.2.1'], 0, []],
    ],
  ];
  for (const [name, from, expected] of rows) t.same(await found(from), expected, name);
});

t.test('a family without an answer from DNS is unknown', async (t) => {
  const v4 = { '192.0.2.1': 60 };
  t.same(await found(source(['192.0.2.1'], v4, 'ESERVFAIL')), [['192.0.2.1'], 60, [6]]);
  t.same(await found(source(['192.0.2.1'], v4, 'ETIMEOUT')), [['192.0.2.1'], 60, [6]]);
  t.same(
    await found(source(['192.0.2.1'], v4, 'ENODATA')),
    [['192.0.2.1'], 60, []],
    'the answer "no records" makes a family known',
  );
  t.same(
    await found(source(['192.0.2.1'], 'ETIMEOUT', 'ENODATA')),
    [['192.0.2.1'], undefined, []],
    'a family with an address from getaddrinfo is known',
  );
});

t.test('this machine resolves localhost', async (t) => {
  const { addresses, ttlS } = await lookUp('localhost', SYSTEM);
  t.ok(addresses.some(({ text }) => text === '127.0.0.1' || text === '::1'));
  t.ok(ttlS === undefined || ttlS >= 0);
});
