import t from 'tap';
import type { ProbedPeer } from '../../src/probe/means.js';
import { Proofs } from '../../src/probe/proof.js';
import { nonceHigh, nonceLow, PROBE_IDENTIFY, PROBE_LEN, probeKind, probeVni } from '../../src/wire/probe.js';

const peer = (n: number, peerIdx = n): ProbedPeer => ({
  vni: 100,
  peerIdx,
  text: `192.0.2.${n}`,
  family: 4,
  bytes: new Uint8Array(16),
  port: 4789,
  scopeId: 0,
});

function setUp() {
  const asked: { peer: ProbedPeer; nonce: { high: number; low: number } }[] = [];
  const proofs = new Proofs((to, bytes) => {
    t.same([probeKind(bytes, 0), probeVni(bytes, 0), bytes.length], [PROBE_IDENTIFY, 100, PROBE_LEN]);
    asked.push({ peer: to, nonce: { high: nonceHigh(bytes, 0), low: nonceLow(bytes, 0) } });
    return 0;
  });
  return { proofs, asked };
}

t.test('who answers the nonce is proved, and nobody else', async (t) => {
  const { proofs, asked } = setUp();
  proofs.look([peer(1), peer(2)], 0);
  t.equal(asked.length, 2, 'at once');
  const { nonce } = asked[0];
  t.equal(proofs.replied(2, nonce, PROBE_LEN), false, 'another peer');
  t.equal(proofs.replied(1, { ...nonce, low: nonce.low ^ 1 }, PROBE_LEN), false, 'another nonce');
  t.equal(proofs.replied(1, nonce, 1400), false, 'an answer about another length');
  t.equal(proofs.isProved('192.0.2.1'), false);
  t.equal(proofs.replied(1, nonce, PROBE_LEN), true);
  t.equal(proofs.isProved('192.0.2.1'), true);
  t.equal(proofs.isProved('192.0.2.2'), false);
  t.equal(proofs.replied(1, nonce, PROBE_LEN), false, 'a nonce counts once');
});

t.test('a proof lapses when nobody answers any more', async (t) => {
  const { proofs, asked } = setUp();
  proofs.look([peer(1)], 0);
  proofs.replied(1, asked[0].nonce, PROBE_LEN);
  let endedMs = 0;
  for (let nowMs = 1000; nowMs < 200_000 && endedMs === 0; nowMs += 1000) {
    proofs.look([peer(1)], nowMs);
    if (!proofs.isProved('192.0.2.1')) endedMs = nowMs;
  }
  t.ok(endedMs > 15_000 && endedMs <= 60_000, `after ${endedMs} ms`);
  t.equal(proofs.replied(1, asked.at(-1)!.nonce, PROBE_LEN), true, 'and comes back with an answer');
});

t.test('who is silent is asked ever more seldom, who answers every 15 s', async (t) => {
  const { proofs, asked } = setUp();
  const count = { silent: 0, good: 0 };
  for (let nowMs = 0; nowMs < 600_000; nowMs += 1000) {
    const before = asked.length;
    proofs.look([peer(1), peer(2)], nowMs);
    for (const question of asked.slice(before)) {
      if (question.peer.peerIdx === 1) count.silent++;
      else {
        count.good++;
        proofs.replied(2, question.nonce, PROBE_LEN);
      }
    }
  }
  t.ok(count.silent >= 10 && count.silent < 25, `${count.silent} questions in ten minutes`);
  t.equal(count.good, 40);
});

t.test('a row that is another peer’s, and a peer that went and came, begin again', async (t) => {
  const { proofs, asked } = setUp();
  proofs.look([peer(1)], 0);
  proofs.replied(1, asked[0].nonce, PROBE_LEN);
  proofs.look([peer(1, 7)], 1000);
  t.equal(proofs.isProved('192.0.2.1'), false);
  proofs.replied(7, asked[1].nonce, PROBE_LEN);
  proofs.look([], 2000);
  proofs.look([peer(1, 7)], 3000);
  t.equal(proofs.isProved('192.0.2.1'), false);
});
