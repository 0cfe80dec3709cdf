import t from 'tap';
import { escaped, exposition, type Family, peerSamples, sample } from '../../src/api/exposition.js';
import { P_TX_FRAMES, PEER_ROW } from '../../src/exchange/counters.js';
import { manyPeers } from '../support/many-peers.js';

t.test('label values are escaped', async (t) => {
  t.equal(escaped('192.0.2.1'), '192.0.2.1');
  t.equal(escaped('fe80::1%a"b\\c\nd'), 'fe80::1%a\\"b\\\\c\\nd');
});

t.test('a sample is one line', async (t) => {
  t.equal(sample('x_total', '', 2 ** 53), 'x_total 9007199254740992\n');
  t.equal(sample('x', 'a="b"', 0.25), 'x{a="b"} 0.25\n');
});

t.test('every peer of every VNI has a line with the value of its own row', async (t) => {
  const image = manyPeers({ vnis: 2, peers: 1000 });
  const family: Family = {
    name: 'x',
    kind: 'gauge',
    help: 'Words.',
    samples: (image, name) => peerSamples(image, name, (cells, at) => cells[at + P_TX_FRAMES]),
  };
  const pieces = [...exposition([family], image)];
  const lines = pieces.join('').split('\n');
  t.same(lines.slice(0, 2), ['# HELP x Words.', '# TYPE x gauge']);
  t.same(lines.slice(2), [
    ...Array.from({ length: 2000 }, (_, i) => {
      const peer = i % 1000;
      return `x{vni="${Math.floor(i / 1000)}",peer="10.0.${peer >> 8}.${peer & 255}"} ${i * PEER_ROW + P_TX_FRAMES}`;
    }),
    '',
  ]);
  t.ok(
    pieces.every((piece) => piece.split('\n').length <= 257),
    'no piece exceeds 256 lines',
  );
});
