import t from 'tap';
import type { ProbedPeer } from '../../src/paths/means.js';
import type { ProbeResult } from '../../src/paths/prober.js';
import { CHECK_MS, PathWatch, type Signs } from '../../src/paths/watch.js';
import { packAddress } from '../support/memory-plane.js';

const MINUTE = 60_000;

function peerAt(text: string): ProbedPeer {
  return { vni: 100, peerIdx: 1, text, ...packAddress(text, 4789) };
}

/** Creates a watch over peers whose counters, replies and time the test controls. */
function makeWatch(...addresses: string[]) {
  const signs = new Map<string, Signs>(
    addresses.map((text) => [text, { peer: peerAt(text), txFrames: 0, lastSeenMs: 0, tooBig: 0 }]),
  );
  const answers = new Map<string, number>();
  const searched: string[] = [];
  const learned: [string, number | undefined][] = [];
  let underWay = 0;
  let most = 0;
  let nowMs = 1_000_000;
  const watch = new PathWatch({
    search: async ({ text }) => {
      searched.push(text);
      most = Math.max(most, ++underWay);
      await new Promise((resolve) => setImmediate(resolve));
      underWay--;
      const pathMtu = answers.get(text);
      return { means: undefined, pathMtu, exact: true, probes: 1, failed: [] } satisfies ProbeResult;
    },
    signs: () => [...signs.values()],
    learned: (address, pathMtu) => learned.push([address, pathMtu]),
  });
  const pass = async (ms: number) => {
    for (const endMs = nowMs + ms; nowMs < endMs; ) {
      nowMs += CHECK_MS;
      watch.check(nowMs);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  const sign = (text: string, change: Partial<Signs>) => signs.set(text, { ...signs.get(text)!, ...change });
  return { signs, answers, searched, learned, watch, pass, sign, now: () => nowMs, most: () => most };
}

t.test('a peer that never answers is searched at doubling intervals up to ten minutes', async (t) => {
  const { searched, learned, pass } = makeWatch('192.0.2.1');
  const counts: number[] = [];
  for (const ms of [CHECK_MS, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 10 * MINUTE, 10 * MINUTE]) {
    await pass(ms);
    counts.push(searched.length);
  }
  t.same(counts, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await pass(20 * MINUTE);
  t.equal(searched.length, 11, 'later searches follow every ten minutes');
  t.same(learned, [], 'nothing is reported');
});

t.test('a peer that replies is searched at start and every ten minutes', async (t) => {
  const { answers, learned, pass } = makeWatch('192.0.2.1');
  answers.set('192.0.2.1', 1400);
  await pass(MINUTE);
  t.same(learned, [['192.0.2.1', 1400]]);
  answers.set('192.0.2.1', 1500);
  await pass(10 * MINUTE);
  t.same(learned.at(-1), ['192.0.2.1', 1500], 'a wider path is found');
});

t.test('a vtepd that starts much later is searched soon after its first reply or first frame', async (t) => {
  for (const appears of ['answer', 'frame']) {
    const { answers, searched, learned, watch, pass, sign } = makeWatch('192.0.2.1');
    await pass(60 * MINUTE);
    const before = searched.length;
    const appear = (lastSeenMs: number) => {
      if (appears === 'answer') watch.appeared('192.0.2.1');
      else sign('192.0.2.1', { lastSeenMs });
    };
    watch.appeared('192.0.2.9');
    appear(1);
    await pass(CHECK_MS);
    t.equal(searched.length, before + 1, `${appears}: a search starts at once`);
    answers.set('192.0.2.1', 1400);
    await pass(10_000);
    t.same(
      learned,
      [['192.0.2.1', 1400]],
      `${appears}: another search follows soon, because the first one failed`,
    );
    t.equal(searched.length, before + 2);
    appear(2);
    await pass(MINUTE);
    t.equal(searched.length, before + 2, `${appears}: a result is not followed by a search at once`);
  }
});

t.test('a result expires after an hour without a reply', async (t) => {
  const { answers, learned, pass } = makeWatch('192.0.2.1');
  answers.set('192.0.2.1', 1400);
  await pass(MINUTE);
  answers.clear();
  await pass(50 * MINUTE);
  t.same(learned, [['192.0.2.1', 1400]]);
  await pass(15 * MINUTE);
  t.same(learned.at(-1), ['192.0.2.1', undefined]);
  t.equal(learned.length, 2, 'the expiry is reported once');
});

t.test('signs of trouble bring a search forward, at most once a minute', async (t) => {
  const rows: [string, Partial<Signs>[]][] = [
    ['too big', [{ tooBig: 1 }, { tooBig: 2 }, { tooBig: 3 }]],
    ['silence', [{ lastSeenMs: 5 }, { txFrames: 1 }, { txFrames: 2 }, { txFrames: 3 }]],
  ];
  for (const [name, changes] of rows) {
    const { answers, searched, pass, sign } = makeWatch('192.0.2.1');
    answers.set('192.0.2.1', 1400);
    await pass(2 * MINUTE);
    t.equal(searched.length, 1, `${name}: the first search is at start`);
    for (const change of changes) {
      sign('192.0.2.1', change);
      await pass(CHECK_MS);
    }
    t.equal(searched.length, 2, `${name}: the second search is at the first sign`);
    await pass(MINUTE);
    t.equal(searched.length, 3, `${name}: the third search is a minute later, for the later signs`);
    await pass(5 * MINUTE);
    t.equal(searched.length, 3, `${name}: no search follows without new signs`);
  }
});

t.test('normal traffic and a peer that was never seen are not signs of trouble', async (t) => {
  const { answers, searched, pass, sign } = makeWatch('192.0.2.1');
  answers.set('192.0.2.1', 1400);
  await pass(MINUTE);
  for (let i = 1; i < 30; i++) {
    sign('192.0.2.1', { txFrames: i, lastSeenMs: i });
    await pass(CHECK_MS);
  }
  t.equal(searched.length, 1, 'frames in both directions cause no search');
  sign('192.0.2.1', { lastSeenMs: 0 });
  sign('192.0.2.1', { txFrames: 100 });
  await pass(MINUTE);
  t.equal(searched.length, 1, 'a peer from which no frame ever arrived is not suspect');
});

t.test('removing a peer discards its path; a new peer is probed', async (t) => {
  const { answers, learned, searched, pass, signs } = makeWatch('192.0.2.1');
  answers.set('192.0.2.1', 1400);
  await pass(MINUTE);
  signs.set('192.0.2.2', { peer: peerAt('192.0.2.2'), txFrames: 0, lastSeenMs: 0, tooBig: 0 });
  signs.delete('192.0.2.1');
  await pass(CHECK_MS);
  t.same(learned.at(-1), ['192.0.2.1', undefined]);
  t.same(searched, ['192.0.2.1', '192.0.2.2']);
});

t.test('all peers are searched, at most 16 at a time', async (t) => {
  const addresses = Array.from({ length: 100 }, (_, i) => `192.0.2.${i}`);
  const { searched, pass, most } = makeWatch(...addresses);
  await pass(7 * CHECK_MS);
  t.same(
    new Set(searched.slice(0, 100)),
    new Set(addresses),
    'every peer is searched once before any peer is searched again',
  );
  t.equal(most(), 16);
});

t.test('a search on request counts as a result for an existing peer', async (t) => {
  const { learned, watch, pass, now } = makeWatch('192.0.2.1');
  await pass(CHECK_MS);
  watch.searched('192.0.2.1', 1300, now());
  watch.searched('192.0.2.9', 1300, now());
  t.same(learned, [['192.0.2.1', 1300]]);
  await pass(61 * MINUTE);
  t.same(learned.at(-1), ['192.0.2.1', undefined], 'the result expires like that of any search');
});
