import t, { type Test } from 'tap';
import { Proofs } from '../../src/paths/proof.js';
import { Receiving, type ReceivingOptions } from '../../src/vtep/receiving.js';
import { nonceHigh, nonceLow, PROBE_LEN } from '../../src/wire/probe.js';
import { packAddress } from '../support/memory-plane.js';
import { eventually } from '../support/wait.js';

type PeerOf = readonly [vni: number, peerIdx: number, text: string, port: number];

/**
 * A receive group whose peers answer only in the given VNIs; the fake kernel accepts every program.
 */
function setUp(t: Test, rows: readonly PeerOf[], answersIn: readonly number[]) {
  const asked: [number, string][] = [];
  const proofs: Proofs = new Proofs((peer, bytes) => {
    asked.push([peer.vni, peer.text]);
    const nonce = { high: nonceHigh(bytes, 0), low: nonceLow(bytes, 0) };
    if (answersIn.includes(peer.vni))
      setImmediate(() => {
        if (proofs.replied(peer.peerIdx, nonce, PROBE_LEN) !== undefined) receiving.due();
      });
    return 0;
  });
  const programs: Uint8Array[] = [];
  const vnis = [...new Set(rows.map(([vni]) => vni))];
  const options = {
    shim: { udpSelect: (_fd: number, program: Uint8Array) => programs.push(program) && 0 },
    sockets: { receiveFds: [{ ipv4: Array.from({ length: 9 }, (_, k) => k), ipv6: [] }] },
    handle: {
      vnis: () => vnis.map((vni) => ({ vni, policy: { accept: 'peers' } })),
      peers: (of: number) =>
        rows
          .filter(([vni]) => vni === of)
          .map(([, peerIdx, text, port]) => ({ peerIdx, address: { text, ...packAddress(text, port) } })),
    },
    paths: { route: () => undefined },
    proofs,
    log: { warn: () => {} },
  } as unknown as ReceivingOptions;
  const receiving = new Receiving(options);
  t.teardown(() => receiving.stop());
  receiving.start();
  return { asked, proofs, programs };
}

t.test(
  'a peer that does not answer in its first VNI gets a request in the next VNI, then changes its socket',
  async (t) => {
    const rows: PeerOf[] = [
      [100, 1, '192.0.2.1', 4789],
      [200, 2, '192.0.2.1', 4789],
    ];
    const { asked, proofs, programs } = setUp(t, rows, [200]);
    t.same(asked, [[100, '192.0.2.1']]);
    await eventually('a proof', () => proofs.isProved('192.0.2.1'));
    t.same(asked[1], [200, '192.0.2.1']);
    await eventually('another program', () => programs.length === 2);
  },
);

t.test(
  'an address with two ports gets no request, because sockets are chosen by address alone',
  async (t) => {
    const rows: PeerOf[] = [
      [100, 1, '192.0.2.1', 4789],
      [200, 2, '192.0.2.1', 4790],
      [200, 3, '192.0.2.2', 4789],
    ];
    const { asked } = setUp(t, rows, [100, 200]);
    t.same(asked, [[200, '192.0.2.2']]);
  },
);
