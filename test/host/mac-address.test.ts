import t from 'tap';
import { bridgeMac, deriveMac, linkLocalOf, randomMac } from '../../src/host/mac-address.js';
import { formatMac } from '../../src/wire/mac.js';

const SEED = { machineId: '3d1219c7c4c5404aaa1f6d2a48adfda4', underlay: '192.168.80.10', vni: 100 };
const text = (seed: Parameters<typeof deriveMac>[0]) => {
  const { high, low } = deriveMac(seed);
  return formatMac(high, low);
};

t.test(
  'a MAC is locally administered, unicast, and higher than the MACs of other bridge ports',
  async (t) => {
    const macs = Array.from({ length: 1000 }, (_, vni) => deriveMac({ ...SEED, vni }));
    t.ok(macs.every(({ high }) => high >= 0xfe00 && high <= 0xfeff));
    t.ok(
      macs.every(({ low }) => low === (low | 0)),
      'the low part of each MAC is an int32, as forwarding compares it',
    );
    t.ok(macs.some(({ low }) => low < 0));
  },
);

t.test('a random MAC has the form of a derived one, and differs each time', async (t) => {
  const macs = Array.from({ length: 1000 }, randomMac);
  t.ok(macs.every(({ high, low }) => high >= 0xfe00 && high <= 0xfeff && low === (low | 0)));
  t.equal(new Set(macs.map(({ high, low }) => formatMac(high, low))).size, 1000);
});

t.test('a derived MAC is the same at every start', async (t) => {
  t.equal(text({ ...SEED }), text(SEED));
  t.equal(text(SEED), 'fe:5b:03:24:d9:b4', 'a change of this value changes the MAC of every installation');
});

t.test('a MAC differs when any part of the seed differs', async (t) => {
  const seeds = [
    SEED,
    { ...SEED, machineId: '3d1219c7c4c5404aaa1f6d2a48adfda5' },
    { ...SEED, underlay: '192.168.80.11' },
    { ...SEED, underlay: 'fd01::10' },
    { ...SEED, vni: 101 },
    { ...SEED, netns: '4026531840' },
    // The concatenated parts of these seeds are equal; the boundary between two parts differs.
    { ...SEED, underlay: '192.168.80.1', vni: 100 },
    { ...SEED, underlay: '192.168.80.1', vni: 0 },
  ];
  t.equal(new Set(seeds.map(text)).size, seeds.length);
  const many = new Set(Array.from({ length: 20_000 }, (_, vni) => text({ ...SEED, vni })));
  t.equal(many.size, 20_000, '20,000 VNIs have distinct MACs');
});

t.test('the MAC of a bridge is locally administered, unicast and not that of its TAP', async (t) => {
  const tap = deriveMac(SEED);
  const bridge = bridgeMac(tap);
  t.equal(bridge.high >>> 8, 0xfa);
  t.equal(bridge.high & 0x300, 0x200);
  t.not(formatMac(bridge.high, bridge.low), formatMac(tap.high, tap.low));
  t.equal(bridge.low, tap.low);
});

t.test('a MAC gives a link-local address (RFC 4291, Appendix A)', async (t) => {
  t.equal(linkLocalOf({ high: 0xfe11, low: 0x22334455 }), 'fe80::fc11:22ff:fe33:4455/64');
  t.equal(linkLocalOf({ high: 0x0200, low: 0xff000001 | 0 }), 'fe80::ffff:fe00:1/64');
});
