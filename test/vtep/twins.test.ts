/** Twins with a data plane that has two VNIs and two peers; the test sets the counters. */
import t from 'tap';
import { V_TWIN_FRAMES, V_TWIN_PEER, VNI_ROW } from '../../src/exchange/counters.js';
import type { DataPlane } from '../../src/exchange/data-plane.js';
import type { Report } from '../../src/exchange/report.js';
import { Twins } from '../../src/vtep/twins.js';

function makeTwins() {
  const rows = new Map([
    [100, new Float64Array(VNI_ROW)],
    [200, new Float64Array(VNI_ROW)],
  ]);
  const peers = ['192.0.2.1', '192.0.2.2'].map((text, peerIdx) => ({ peerIdx, address: { text } }));
  const current = new Map<string, Omit<Report, 'code'>>();
  const dataPlane = {
    vnis: () => [...rows.keys()].map((vni) => ({ vni, tap: `vtep${vni}`, mac: 'fe:00:00:00:00:01' })),
    peers: () => peers,
    totals: (vni: number) => ({ vni: rows.get(vni)!, peers: 2 }),
  } as unknown as DataPlane;
  const twins = new Twins({
    dataPlane,
    reports: {
      set: (code, subject, texts) => {
        t.equal(code, 'twin');
        if (texts) current.set(subject, texts);
        else current.delete(subject);
      },
    },
  });
  const frame = (vni: number, peerIdx: number) => {
    rows.get(vni)![V_TWIN_PEER] = peerIdx + 1;
    rows.get(vni)![V_TWIN_FRAMES]++;
  };
  return { twins, rows, current, frame };
}

t.test('a peer with our MAC is named, with MAC and VNI, for a minute after its last frame', async (t) => {
  const { twins, current, frame } = makeTwins();
  twins.check(0);
  t.same([...current], []);
  frame(100, 1);
  twins.check(2000);
  t.same([...current.keys()], ['192.0.2.2']);
  t.match(current.get('192.0.2.2'), {
    detail: /^peer 192\.0\.2\.2 sends .* fe:00:00:00:00:01 of vtep100, .* VNI 100$/,
    cure: /--mac/,
  });
  twins.check(61_000);
  t.equal(current.size, 1);
  frame(100, 1);
  twins.check(61_500);
  twins.check(121_000);
  t.equal(current.size, 1, 'a further frame prolongs the warning');
  twins.check(121_500);
  t.equal(current.size, 0);
});

t.test('one warning names all VNIs of a peer, and every peer has its own', async (t) => {
  const { twins, rows, current, frame } = makeTwins();
  frame(200, 0);
  frame(100, 0);
  twins.check(0);
  t.match([...current.values()], [{ detail: /VNI 100, and those of 1 more VNIs$/ }]);
  frame(100, 1);
  twins.check(2000);
  t.same([...current.keys()], ['192.0.2.1', '192.0.2.2']);
  rows.delete(100);
  twins.check(4000);
  t.match([...current], [['192.0.2.1', { detail: /VNI 200$/ }]], 'a removed VNI is no longer named');
});

t.test('frames of sources that are no configured peers are named as such', async (t) => {
  const { twins, current, frame } = makeTwins();
  frame(100, 7);
  twins.check(0);
  t.match([...current.values()], [{ detail: /^a source that is no configured peer sends/ }]);
});
