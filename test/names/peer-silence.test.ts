import t from 'tap';
import { type PeerSigns, PeerSilence } from '../../src/names/peer-silence.js';

const LOOK_MS = 5000;

function makeSilence() {
  const turned: [string, boolean][] = [];
  const asked: number[] = [];
  let nowMs = 0;
  const silence = new PeerSilence({
    turned: (address, silent) => turned.push([address, silent]),
    lookUp: () => asked.push(nowMs),
  });
  const look = (...rows: [string, number, number][]) => {
    const signs = rows.map(
      ([text, txFrames, lastSeenMs]): PeerSigns => ({ peer: { text }, txFrames, lastSeenMs }),
    );
    silence.check(signs, nowMs);
    nowMs += LOOK_MS;
  };
  return { turned, asked, look };
}

t.test('one that is sent to and does not answer, until it is heard', async (t) => {
  const { turned, asked, look } = makeSilence();
  look(['192.0.2.1', 1, 5]);
  t.same(turned, [['192.0.2.1', false]], 'heard for the first time');
  for (let i = 2; i < 20; i++) look(['192.0.2.1', i, 5]);
  t.same(turned.slice(1), [['192.0.2.1', true]], 'silent, said once');
  t.same(asked, [20_000, 80_000], 'and looked up when it began, and each minute');
  look(['192.0.2.1', 20, 6]);
  t.same(turned.slice(2), [['192.0.2.1', false]]);
});

t.test('one that was never heard', async (t) => {
  const { turned, look } = makeSilence();
  for (let i = 0; i < 10; i++) look(['192.0.2.1', i, 0]);
  t.same(turned, [['192.0.2.1', true]]);
});

t.test('what is no silence', async (t) => {
  const { turned, asked, look } = makeSilence();
  for (let i = 0; i < 20; i++)
    look(['192.0.2.1', 100, 0], ['192.0.2.2', i, i], ['192.0.2.3', i > 8 ? 1 : 0, 5]);
  t.same(
    turned,
    [
      ['192.0.2.3', false],
      ['192.0.2.2', false],
    ],
    'nothing is sent; each is answered; a single frame',
  );
  t.same(asked, []);
});

t.test('one that is gone is forgotten', async (t) => {
  const { turned, look } = makeSilence();
  for (let i = 0; i < 10; i++) look(['192.0.2.1', i, 0]);
  look();
  look(['192.0.2.1', 100, 7]);
  t.same(turned, [
    ['192.0.2.1', true],
    ['192.0.2.1', false],
  ]);
});
