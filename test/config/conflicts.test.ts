/** Conflicts between VNIs in effective settings. */
import t from 'tap';
import { ConfigError } from '../../src/config/config-error.js';
import { checkConflicts } from '../../src/config/conflicts.js';
import { parseConfig } from '../../src/config/file.js';
import { mergeSettings } from '../../src/config/merge.js';
import type { Settings, VniSettings } from '../../src/config/settings.js';

const BASE = mergeSettings([parseConfig('vnis: [{vni: 1}, {vni: 2}]\nlocal: 192.0.2.9', 'v.yaml')], false);

const refused: [string, Partial<VniSettings>, string, Partial<Settings>?][] = [
  ['the same TAP in two VNIs', { tap: 'vtep1' }, 'tap vtep1: already used by VNI 1; give VNI 2 another one'],
  [
    'the underlay device as TAP',
    { tap: 'eth0' },
    'tap eth0: is the --underlay-dev; the overlay cannot run over itself',
  ],
  ['a TAP as bridge', { bridge: 'vtep1' }, 'bridge vtep1: is the TAP of VNI 1; name another bridge'],
  ['its own TAP as bridge', { bridge: 'vtep2' }, 'bridge vtep2: is the TAP of VNI 2; name another bridge'],
  [
    'the underlay device as bridge',
    { bridge: 'eth0' },
    'bridge eth0: is the --underlay-dev; the overlay cannot run over itself',
  ],
  [
    'an address twice',
    { addresses: ['10.0.0.1/24', '10.0.0.1/24'] },
    'address 10.0.0.1/24: given twice; give it once',
  ],
];

for (const [what, changes, message] of refused) {
  t.test(`refused: ${what}`, async (t) => {
    const [one, two] = BASE.vnis;
    const settings = { ...BASE, underlayDev: 'eth0', vnis: [one, { ...two, ...changes }] };
    t.type(
      t.throws(() => checkConflicts(settings), { message }),
      ConfigError,
    );
  });
}

t.test('two VNIs may share bridge and peers', async (t) => {
  const peers = [{ host: '192.0.2.1', port: 4789, flood: true }];
  const vnis = BASE.vnis.map((vni) => ({ ...vni, bridge: 'b', peers }));
  t.doesNotThrow(() => checkConflicts({ ...BASE, vnis }));
});
