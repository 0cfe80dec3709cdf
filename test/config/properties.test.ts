/**
 * Random flags, files, options and bodies: each is accepted or gives a ConfigError.
 *
 * Settings that are written to a file are read back unchanged.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { readPeerBody, readVniBody, readVniChanges } from '../../src/config/body.js';
import { ConfigError, ValueError } from '../../src/config/config-error.js';
import { parseConfig, readOptions } from '../../src/config/file.js';
import { mergeSettings } from '../../src/config/merge.js';
import { parsePeer } from '../../src/config/peer.js';
import { KEYS, type Key, SETTINGS, VNI_KEYS } from '../../src/config/schema.js';
import type { Settings } from '../../src/config/settings.js';
import { Source } from '../../src/config/source.js';
import { holds, words } from '../support/properties.js';

const RUNS = 500;

const LIKELY = [
  ...[
    'on',
    'off',
    'auto',
    'inherit',
    'peers',
    'any',
    'set',
    'unset',
    'pass',
    'strip',
    'drop',
    'batch',
    'dgram',
  ],
  ...['100', '4789', '1450', '192.0.2.1', '2001:db8::1', 'fe80::1%eth0', '10.0.0.1/24', '02:00:00:00:00:01'],
  ...['vtep100', 'br0', '1024-2047', '[::1]:8789', '127.0.0.1:1', 'unix:/run/a', '/var/lib/x', 'a.example'],
  ...['192.0.2.1,port=4790', '192.0.2.2,vni=7,flood=off', '::ffff:192.0.2.1', 'info', 'json'],
];
const texts = words(...LIKELY);

/** Returns the parser's value, or undefined for an error of class `kind`. */
function refusedOr<T>(kind: typeof ConfigError | typeof ValueError, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    // ConfigError escapes control characters; a ValueError becomes a ConfigError later.
    const isLine = kind === ValueError || !(error as Error).message.includes('\n');
    if (error instanceof kind && error.message !== '' && isLine) return undefined;
    throw error;
  }
}

t.test('each parser returns a value or throws a ValueError', async () => {
  await holds(RUNS * 3, [fc.constantFrom(...KEYS), texts], (key, text) => {
    refusedOr(ValueError, () => SETTINGS[key].parse(text));
  });
});

t.test('a peer in the form of --peer is read back unchanged', async () => {
  await holds(RUNS, [fc.array(texts, { minLength: 1, maxLength: 4 })], (parts) => {
    const peer = refusedOr(ValueError, () => parsePeer(parts.join(',')));
    if (peer === undefined) return;
    const options = (['vni', 'port'] as const).flatMap((name) =>
      peer[name] === undefined ? [] : [`${name}=${peer[name]}`],
    );
    if (peer.flood !== undefined) options.push(`flood=${peer.flood ? 'on' : 'off'}`);
    assert.deepEqual(
      parsePeer([peer.host, ...options].join(',')),
      peer,
      'the written form parses to the same peer',
    );
  });
});

t.test('random flags give frozen settings or a ConfigError', async () => {
  const flags = fc.array(fc.tuple(fc.constantFrom(...KEYS), texts), { maxLength: 5 });
  await holds(
    RUNS,
    [flags, fc.array(texts, { maxLength: 2 }), fc.array(texts, { maxLength: 2 })],
    (all, vnis, peers) => {
      const source = new Source();
      const settings = refusedOr(ConfigError, () => {
        for (const vni of vnis) source.addVni('--vni', vni);
        for (const [key, text] of all) source.all.add(key, `--${key}`, text);
        for (const peer of peers) source.all.addPeer('--peer', peer);
        return mergeSettings([source], false);
      });
      if (settings !== undefined)
        assert.equal(Object.isFrozen(settings) && Object.isFrozen(settings.vnis), true);
    },
  );
});

t.test('the error for an invalid flag names the flag and its value', async () => {
  await holds(
    RUNS,
    [fc.constantFrom(...KEYS), fc.string({ minLength: 1, unit: 'grapheme-ascii' })],
    (key, text) => {
      try {
        new Source().all.add(key, `--${key}`, text);
      } catch (error) {
        assert.ok(error instanceof ConfigError);
        assert.equal((error as Error).message.startsWith(`--${key} `), true);
        assert.equal((error as Error).message.includes(text.trim()), true, (error as Error).message);
      }
    },
  );
});

const scalars = fc.oneof(
  texts,
  texts.map((text) => JSON.stringify(text)),
  fc.constantFrom('~', '!!int 3', '*a', '&a 1'),
);
const keys = fc.oneof(fc.constantFrom<string[]>(...KEYS, 'vnis', 'peers', 'vni', 'address'), scalars);

/**
 * Text that resembles a configuration: maps and lists, in block and flow style, of known and
 * unknown keys.
 */
const { yaml } = fc.letrec<{ yaml: string; flow: string }>((tie) => ({
  flow: fc.oneof(
    { maxDepth: 3 },
    scalars,
    fc.array(tie('flow'), { maxLength: 3 }).map((items) => `[${items.join(', ')}]`),
    fc
      .array(fc.tuple(keys, tie('flow')), { maxLength: 3 })
      .map((of) => `{${of.map((pair) => pair.join(': ')).join(', ')}}`),
  ),
  yaml: fc
    .array(
      fc.oneof(
        fc.tuple(keys, tie('flow')).map((pair) => pair.join(': ')),
        tie('flow'),
        fc.string(),
      ),
      { maxLength: 5 },
    )
    .map((lines) => lines.join('\n')),
}));

t.test('random text as a file gives settings or a ConfigError', async () => {
  await holds(RUNS * 2, [fc.oneof(yaml, fc.string(), fc.json(), fc.string({ unit: 'binary' }))], (text) => {
    refusedOr(ConfigError, () => mergeSettings([parseConfig(text, 'v.yaml')], false));
  });
});

t.test('random options and bodies give settings or a ConfigError', async () => {
  const values = fc.oneof(fc.jsonValue(), texts, fc.constantFrom(null, true, 1, [], {}));
  const known = fc.dictionary(
    keys.filter((key) => key !== '__proto__'),
    values,
    { maxKeys: 5 },
  );
  const objects = fc.oneof(known, fc.object());
  await holds(RUNS, [objects], (value) => {
    refusedOr(ConfigError, () => mergeSettings([readOptions(value)], false));
  });
  // The API's schemas check keys and types of a body before these functions are called.
  const own = fc.dictionary(fc.constantFrom<string[]>(...VNI_KEYS), values, { maxKeys: 5 });
  const peers = fc.array(
    fc.oneof(texts, fc.record({ address: texts, port: values }, { requiredKeys: ['address'] })),
  );
  await holds(RUNS, [own, texts, fc.option(peers)], (body, vni, list) => {
    refusedOr(ConfigError, () => readVniBody({ ...body, vni, peers: list }, 4789));
    refusedOr(ConfigError, () => readVniChanges(100, body));
    refusedOr(ConfigError, () => readPeerBody({ address: vni, ...(list ? { port: vni } : {}) }, 4789));
  });
});

/** Returns the content of a file with these settings. */
function written({ vnis, port, ttl, tos, df, local }: Settings): object {
  const onOff = (value: boolean) => (value ? 'on' : 'off');
  return {
    ...{ port, ttl, tos, df, local: local.map(({ text }) => text) },
    vnis: vnis.map((vni) => ({
      ...{ vni: vni.vni, tap: vni.tap, address: vni.addresses, mtu: vni.mtu, learning: onOff(vni.learning) },
      ...{
        ageing: vni.ageingS,
        fdbLimit: vni.fdbLimit,
        flood: onOff(vni.flood),
        accept: vni.accept,
        vlan: vni.vlan,
      },
      ...(vni.bridge === '' ? {} : { bridge: vni.bridge }),
      ...(vni.mac === '' ? {} : { mac: vni.mac }),
      peers: vni.peers.map(({ host, port, flood }) => ({ address: host, port, flood: onOff(flood) })),
    })),
  };
}

const VALID: Partial<Record<Key, fc.Arbitrary<string>>> = {
  port: fc.integer({ min: 1, max: 65535 }).map(String),
  ttl: fc.integer({ min: 1, max: 255 }).map(String),
  tos: fc.oneof(
    fc.constant('inherit'),
    fc.nat(63).map((dscp) => `${dscp * 4}`),
  ),
  df: fc.constantFrom('set', 'unset', 'inherit'),
  local: fc.oneof(fc.ipV4(), fc.ipV6()),
  bridge: fc.string({ minLength: 1, maxLength: 20 }),
  mtu: fc.oneof(fc.constant('auto'), fc.integer({ min: 0, max: 70000 }).map(String)),
  learning: fc.constantFrom('on', 'off', 'true', 'false'),
  ageing: fc.nat(2_000_000).map(String),
  flood: fc.constantFrom('on', 'off'),
  accept: fc.constantFrom('peers', 'any'),
  vlan: fc.constantFrom('pass', 'strip', 'drop'),
  address: fc.tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(130)).map((cidr) => cidr.join('/')),
};

t.test('settings written to a file are read back unchanged', async (t) => {
  const setting = fc
    .constantFrom(...(Object.keys(VALID) as Key[]))
    .chain((key) => fc.tuple(fc.constant(key), VALID[key]!));
  const peers = fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()), { maxLength: 3 });
  let same = 0;
  await holds(RUNS, [fc.array(setting, { maxLength: 6 }), fc.nat(0xffffff), peers], (all, vni, hosts) => {
    const source = new Source();
    const settings = refusedOr(ConfigError, () => {
      source.addVni('--vni', `${vni}`);
      for (const [key, text] of all) source.all.add(key, `--${key}`, text);
      for (const host of hosts) source.all.addPeer('--peer', host);
      return mergeSettings([source], false);
    });
    if (settings === undefined) return;
    const text = JSON.stringify(written(settings));
    assert.deepEqual(mergeSettings([parseConfig(text, 'v.yaml')], false), settings);
    same++;
  });
  t.ok(same > RUNS / 10, 'more than a tenth of the random settings is accepted');
});
