import t from 'tap';
import { resolveHost } from '../../src/names/resolve.js';

const texts = async (host: string) => (await resolveHost(host)).map(({ text }) => text);

t.test('rejects invalid names before the resolver is called', async (t) => {
  // getaddrinfo would read the numeric names like inet_aton: 10.1 as 10.0.0.1.
  for (const host of [
    '',
    ' ',
    'a b',
    '1.2',
    '10.1',
    '0x7f.1',
    '0x7f000001',
    '2130706433',
    '010.0.0.1',
    '256.1.1.1',
    '1.2.3.4.',
    '1:2',
    'fe80::1%',
    '10.0.0.0/8',
    'host:4789',
  ]) {
    await t.rejects(
      resolveHost(host),
      { name: 'ResolveError', message: /neither an address nor a name/ },
      host,
    );
  }
});

t.test('the error of an unknown name contains the name', async (t) => {
  await t.rejects(resolveHost('nosuchhost.invalid'), {
    name: 'ResolveError',
    message: /^cannot resolve "nosuchhost\.invalid": \w.*$/,
  });
});

t.test('an address resolves to its canonical form', async (t) => {
  t.strictSame(await texts('192.0.2.1'), ['192.0.2.1']);
  t.strictSame(await texts('2001:DB8:0::1'), ['2001:db8::1']);
  t.strictSame(await texts('::ffff:192.0.2.1'), ['192.0.2.1']);
  t.strictSame(await texts('fe80::1%eth0'), ['fe80::1%eth0']);
});

t.test('a name resolves to all its distinct addresses', async (t) => {
  const found = await texts('localhost');
  t.ok(
    found.some((text) => text === '127.0.0.1' || text === '::1'),
    found.join(' '),
  );
  t.equal(new Set(found).size, found.length);
});
