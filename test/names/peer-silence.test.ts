import t from 'tap';
import { type PeerSigns, PeerSilence } from '../../src/names/peer-silence.js';

const CHECK_MS = 5000;

function makeSilence() {
  const transitions: [string, boolean][] = [];
  const lookups: number[] = [];
  let nowMs = 0;
  const silence = new PeerSilence({
    transition: (address, silent) => transitions.push([address, silent]),
    lookUp: () => lookups.push(nowMs),
  });
  const check = (...rows: [string, number, number][]) => {
    const signs = rows.map(
      ([text, txFrames, lastSeenMs]): PeerSigns => ({ peer: { text }, txFrames, lastSeenMs }),
    );
    silence.check(signs, nowMs);
    nowMs += CHECK_MS;
  };
  return { transitions, lookups, check };
}

t.test('a peer that does not answer is reported as silent, and as active when it answers', async (t) => {
  const { transitions, lookups, check } = makeSilence();
  check(['192.0.2.1', 1, 5]);
  t.same(transitions, [['192.0.2.1', false]], 'the peer is active after its first frame');
  for (let i = 2; i < 20; i++) check(['192.0.2.1', i, 5]);
  t.same(transitions.slice(1), [['192.0.2.1', true]], 'silence is reported once');
  t.same(lookups, [20_000, 80_000], 'the name is looked up at the start of silence and every minute');
  check(['192.0.2.1', 20, 6]);
  t.same(transitions.slice(2), [['192.0.2.1', false]]);
});

t.test('a peer from which no frame was ever received is reported as silent', async (t) => {
  const { transitions, check } = makeSilence();
  for (let i = 0; i < 10; i++) check(['192.0.2.1', i, 0]);
  t.same(transitions, [['192.0.2.1', true]]);
});

t.test('does not report peers that are idle, that answer, or that were sent a single frame', async (t) => {
  const { transitions, lookups, check } = makeSilence();
  for (let i = 0; i < 20; i++)
    check(['192.0.2.1', 100, 0], ['192.0.2.2', i, i], ['192.0.2.3', i > 8 ? 1 : 0, 5]);
  t.same(
    transitions,
    [
      ['192.0.2.3', false],
      ['192.0.2.2', false],
    ],
    'only first received frames are reported, no silence',
  );
  t.same(lookups, []);
});

t.test('forgets a removed peer', async (t) => {
  const { transitions, check } = makeSilence();
  for (let i = 0; i < 10; i++) check(['192.0.2.1', i, 0]);
  check();
  check(['192.0.2.1', 100, 7]);
  t.same(transitions, [
    ['192.0.2.1', true],
    ['192.0.2.1', false],
  ]);
});
