import t from 'tap';
import { fitOf, judge, mtuWarning, overlayMtuFor, type PeerPath } from '../../src/paths/verdict.js';

const OVERLAY = { overlayMtu: 1450, tap: 'vtep100', tapMtu: 1450, bridged: false };

t.test('the overlay MTU is the path MTU less headers and tags', async (t) => {
  const rows: [4 | 6, number, number, number][] = [
    [4, 1500, 0, 1450],
    [6, 1500, 0, 1430],
    [4, 1500, 1, 1446],
    [6, 1500, 2, 1422],
    [4, 9000, 0, 8950],
    [4, 1420, 0, 1370],
  ];
  for (const [family, pathMtu, tags, fits] of rows)
    t.equal(overlayMtuFor(family, pathMtu, tags), fits, `IPv${family} ${pathMtu}, ${tags} tags`);
});

t.test('the path with the smallest overlay MTU determines the fit', async (t) => {
  const path = (address: string, family: 4 | 6, pathMtu?: number): PeerPath => ({ address, family, pathMtu });
  t.same(fitOf([], 0), { overlayMtu: 1450, peer: '' }, '1500 is assumed');
  t.same(fitOf([path('a', 4)], 1), { overlayMtu: 1446, peer: '' }, '1500 is assumed without a route');
  t.same(fitOf([path('a', 4, 9000)], 0), { overlayMtu: 8950, peer: 'a' }, 'a path wider than 1500 is used');
  t.same(fitOf([path('a', 4, 1500), path('b', 6, 1510), path('c', 4)], 0), { overlayMtu: 1440, peer: 'b' });
});

t.test('the warning has configured MTU, fitting MTU and limiting peer', async (t) => {
  const fit = { overlayMtu: 1450, peer: '192.0.2.1' };
  t.equal(mtuWarning(100, 1450, fit), undefined);
  t.equal(
    mtuWarning(100, 9000, { ...fit, peer: '' }),
    undefined,
    'there is no warning when no path MTU is known',
  );
  t.strictSame(mtuWarning(100, 9000, fit), {
    code: 'overlay_mtu_too_large',
    detail: 'VNI 100: --mtu 9000 exceeds 1450, the largest that fits the path to 192.0.2.1',
    why: 'larger packets are answered by ICMP, fragmented or dropped',
    cure: 'use --mtu auto or 1450, or raise the MTU of that path by 7550 bytes',
  });
});

t.test('the summary says what fits and by how much the MTU is too large', async (t) => {
  const rows: [number | undefined, number | undefined, Partial<typeof OVERLAY>, boolean, string][] = [
    [undefined, undefined, {}, false, 'unknown: no probe was answered'],
    [
      1500,
      1450,
      { overlayMtu: 1500, tapMtu: 1500 },
      false,
      'path carries 1500; overlay MTU 1450 fits; this VNI has 1500: 50 bytes too large',
    ],
    [
      1500,
      1450,
      { tapMtu: 1451 },
      false,
      'path carries 1500; overlay MTU 1450 fits; TAP vtep100 has 1451: 1 byte too large',
    ],
    [1500, 1450, {}, true, 'path carries 1500; overlay MTU 1450 fits'],
    [9000, 8950, {}, true, 'path carries 9000; overlay MTU 8950 fits'],
    [
      1500,
      1450,
      { tapMtu: 1500, bridged: true },
      true,
      'path carries 1500; overlay MTU 1450 fits; TAP vtep100 has 1500, the MTU of its bridge, so that larger frames are answered instead of lost',
    ],
  ];
  for (const [pathMtu, fits, overlay, good, summary] of rows)
    t.same(judge(pathMtu, fits, { ...OVERLAY, ...overlay }), { good, summary });
});
