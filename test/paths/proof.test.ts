import t, { type Test } from 'tap';
import type { ProbedPeer } from '../../src/paths/means.js';
import { Proofs } from '../../src/paths/proof.js';
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

function setUp(t: Test) {
  const asked: { peer: ProbedPeer; nonce: { high: number; low: number } }[] = [];
  const proofs = new Proofs((to, bytes) => {
    t.same([probeKind(bytes, 0), probeVni(bytes, 0), bytes.length], [PROBE_IDENTIFY, 100, PROBE_LEN]);
    asked.push({ peer: to, nonce: { high: nonceHigh(bytes, 0), low: nonceLow(bytes, 0) } });
    return 0;
  });
  return { proofs, asked };
}

t.test('only the peer that replies with the nonce is proved', async (t) => {
  const { proofs, asked } = setUp(t);
  proofs.check([peer(1), peer(2)], 0);
  t.equal(asked.length, 2, 'each peer gets a request at once');
  const { nonce } = asked[0];
  t.equal(proofs.replied(2, nonce, PROBE_LEN), undefined, 'a reply from another peer proves nothing');
  t.equal(
    proofs.replied(1, { ...nonce, low: nonce.low ^ 1 }, PROBE_LEN),
    undefined,
    'a reply with another nonce proves nothing',
  );
  t.equal(proofs.replied(1, nonce, 1400), undefined, 'a reply of another length proves nothing');
  t.equal(proofs.isProved('192.0.2.1'), false);
  t.equal(proofs.replied(1, nonce, PROBE_LEN), '192.0.2.1');
  t.equal(proofs.isProved('192.0.2.1'), true);
  t.equal(proofs.isProved('192.0.2.2'), false);
  t.equal(proofs.replied(1, nonce, PROBE_LEN), undefined, 'a nonce is accepted only once');
});

t.test('a proof expires when replies stop', async (t) => {
  const { proofs, asked } = setUp(t);
  proofs.check([peer(1)], 0);
  proofs.replied(1, asked[0].nonce, PROBE_LEN);
  let endedMs = 0;
  for (let nowMs = 1000; nowMs < 200_000 && endedMs === 0; nowMs += 1000) {
    proofs.check([peer(1)], nowMs);
    if (!proofs.isProved('192.0.2.1')) endedMs = nowMs;
  }
  t.ok(endedMs > 15_000 && endedMs <= 60_000, `the proof ends after ${endedMs} ms`);
  t.equal(proofs.replied(1, asked.at(-1)!.nonce, PROBE_LEN), '192.0.2.1', 'a reply proves the peer again');
});

t.test('a silent peer gets requests at growing intervals, a replying peer every 15 s', async (t) => {
  const { proofs, asked } = setUp(t);
  const count = { silent: 0, replying: 0 };
  for (let nowMs = 0; nowMs < 600_000; nowMs += 1000) {
    const before = asked.length;
    proofs.check([peer(1), peer(2)], nowMs);
    for (const request of asked.slice(before)) {
      if (request.peer.peerIdx === 1) count.silent++;
      else {
        count.replying++;
        proofs.replied(2, request.nonce, PROBE_LEN);
      }
    }
  }
  t.ok(count.silent >= 10 && count.silent < 25, `a silent peer gets ${count.silent} requests in ten minutes`);
  t.equal(count.replying, 40);
});

t.test(
  'a proof belongs to address and port, survives a change of the row, and ends with the peer',
  async (t) => {
    const { proofs, asked } = setUp(t);
    proofs.check([peer(1)], 0);
    proofs.replied(1, asked[0].nonce, PROBE_LEN);
    proofs.check([peer(1, 7)], 1000);
    t.equal(proofs.isProved('192.0.2.1'), true);
    proofs.check([{ ...peer(1, 7), port: 8472 }], 2000);
    t.equal(proofs.isProved('192.0.2.1'), false, 'the proof does not apply to another port');
    proofs.replied(7, asked[1].nonce, PROBE_LEN);
    t.equal(proofs.isProved('192.0.2.1'), true);
    proofs.check([], 3000);
    proofs.check([{ ...peer(1, 7), port: 8472 }], 4000);
    t.equal(proofs.isProved('192.0.2.1'), false);
  },
);

t.test('after a request without a reply the next VNI is used, and after a reply the same VNI', async (t) => {
  const asked: { vni: number; row: number; nonce: { high: number; low: number } }[] = [];
  const proofs = new Proofs((to, bytes) => {
    const nonce = { high: nonceHigh(bytes, 0), low: nonceLow(bytes, 0) };
    asked.push({ vni: probeVni(bytes, 0), row: to.peerIdx, nonce });
    return 0;
  });
  const rows = [100, 200, 300].map((vni, i) => ({ ...peer(1, i), vni }));
  /** Chooses the row as the caller of `check` does. */
  const chosen = () => rows.find(({ vni }) => vni > proofs.askBehind('192.0.2.1')) ?? rows[0];
  for (let nowMs = 0; nowMs < 300_000; nowMs += 1000) {
    const before = asked.length;
    proofs.check([chosen()], nowMs);
    const request = asked[before];
    if (request?.vni === 200) proofs.replied(request.row, request.nonce, PROBE_LEN);
  }
  t.same(
    asked.slice(0, 4).map(({ vni }) => vni),
    [100, 200, 200, 200],
  );
  t.ok(asked.slice(1).every(({ vni }) => vni === 200));
  t.equal(proofs.isProved('192.0.2.1'), true);
  const late = asked[0];
  t.equal(
    proofs.replied(late.row, late.nonce, PROBE_LEN),
    undefined,
    'a reply to an earlier request proves nothing',
  );
});
