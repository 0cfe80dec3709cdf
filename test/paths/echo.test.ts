import t from 'tap';
import { EchoMeans, sendFailure } from '../../src/paths/echo.js';
import { MeansUnavailable, type ProbedPeer } from '../../src/paths/means.js';
import { Prober } from '../../src/paths/prober.js';
import { isProbe, nonceHigh, nonceLow, probeVni } from '../../src/wire/probe.js';
import { packAddress } from '../support/memory-plane.js';

const PEER: ProbedPeer = { vni: 100, peerIdx: 5, text: '192.0.2.1', ...packAddress('192.0.2.1', 4789) };
const PEER6: ProbedPeer = { vni: 100, peerIdx: 6, text: '2001:db8::1', ...packAddress('2001:db8::1', 4789) };

/** A peer behind a path of the given MTU; `alter` makes the replies, which arrive at once. */
function meansOver(
  mtu: number,
  alter = (means: EchoMeans, peer: ProbedPeer, b: Uint8Array) => answer(means, peer, b),
) {
  const sent: Uint8Array[] = [];
  const means = new EchoMeans((peer, datagram) => {
    sent.push(datagram);
    const packetLen = datagram.length + 8 + (peer.family === 4 ? 20 : 40);
    if (packetLen <= mtu) setImmediate(() => alter(means, peer, datagram));
    return 0;
  });
  return { means, sent };
}

function answer(means: EchoMeans, { peerIdx }: ProbedPeer, b: Uint8Array): void {
  means.replied(peerIdx, { high: nonceHigh(b, 0), low: nonceLow(b, 0) }, b.length);
}

t.test('maps the errno of a failed send to an outcome', async (t) => {
  t.equal(sendFailure(0), undefined);
  t.same(sendFailure(-90), { kind: 'too-big', mtu: 0 }, 'EMSGSIZE means that the packet is too big');
  for (const errno of [-1, -97, -101, -113])
    t.match(sendFailure(errno), { kind: 'unusable' }, `errno ${-errno}`);
  t.same(sendFailure(-111), { kind: 'silent' }, 'ECONNREFUSED belongs to an earlier datagram');
});

t.test('replies with wrong peer, nonce or length are ignored', async (t) => {
  const rows: [string, (means: EchoMeans, peer: ProbedPeer, b: Uint8Array) => void][] = [
    ['another peer', (means, peer, b) => answer(means, { ...peer, peerIdx: 9 }, b)],
    ['another nonce', (means, { peerIdx }, b) => means.replied(peerIdx, { high: 1, low: 2 }, b.length)],
    [
      'another length',
      (means, { peerIdx }, b) =>
        means.replied(peerIdx, { high: nonceHigh(b, 0), low: nonceLow(b, 0) }, b.length + 1),
    ],
  ];
  for (const [name, alter] of rows) {
    const { means } = meansOver(1500, alter);
    const open = await means.open(PEER);
    t.same(await open.probe(600, false), { kind: 'silent' }, name);
    open.close();
  }
});

t.test('a reply after the end of a search is ignored', async (t) => {
  const { means, sent } = meansOver(0);
  const open = await means.open(PEER);
  const asked = open.probe(600, false);
  open.close();
  answer(means, PEER, sent[0]);
  t.same(await asked, { kind: 'silent' });
});

t.test('packets have the requested size and a unique nonce', async (t) => {
  for (const [peer, ip] of [
    [PEER, 20],
    [PEER6, 40],
  ] as const) {
    const { means, sent } = meansOver(9000);
    const open = await means.open(peer);
    for (const packetLen of [576, 1280, 1500, 9000]) {
      t.same(await open.probe(packetLen, false), { kind: 'arrived' });
      const datagram = sent.at(-1)!;
      t.equal(datagram.length, packetLen - ip - 8);
      t.ok(isProbe(datagram, 0, datagram.length));
      t.equal(probeVni(datagram, 0), 100);
    }
    t.equal(new Set(sent.map((b) => `${nonceHigh(b, 0)} ${nonceLow(b, 0)}`)).size, sent.length);
    open.close();
  }
});

t.test('the prober tries means in order until one gets a reply', async (t) => {
  const { means, sent } = meansOver(1400);
  const unavailable = {
    name: 'icmp' as const,
    open: () => Promise.reject(new MeansUnavailable('no permission for raw sockets')),
  };
  const prober = new Prober([unavailable, means], async () => 1500);
  const steps: string[] = [];
  const late: string[] = [];
  const [first, second] = await Promise.all([
    prober.probe(PEER, undefined, (size, outcome) => steps.push(`${size} ${outcome}`)),
    prober.probe(PEER, undefined, (size, outcome) => late.push(`${size} ${outcome}`)),
  ]);
  t.match(first, {
    means: 'vtepd',
    pathMtu: 1400,
    exact: true,
    failed: [{ means: 'icmp', why: 'no permission for raw sockets' }],
  });
  t.equal(first, second, 'concurrent requests share the search');
  t.equal(first.probes, sent.length);
  t.equal(steps.length, sent.length);
  t.same(late, steps, 'both requests get the progress');
  t.same(await prober.probe(PEER, 'icmp'), {
    means: undefined,
    pathMtu: undefined,
    exact: false,
    probes: 0,
    failed: [{ means: 'icmp', why: 'no permission for raw sockets' }],
  });
});

t.test('stopping the prober ends its searches', async (t) => {
  const { means, sent } = meansOver(9000);
  const prober = new Prober([means], async () => 1500);
  const asked = prober.probe(PEER);
  prober.stop();
  t.match(await asked, { pathMtu: undefined, failed: [{ means: 'vtepd', why: 'vtepd is stopping' }] });
  t.ok(sent.length <= 1);
});

t.test('when the route lookup fails, an MTU of 1500 is assumed', async (t) => {
  const { means } = meansOver(9000);
  const prober = new Prober([means], () => Promise.reject(new Error('ip(8) is not installed')));
  t.match(await prober.probe(PEER), { pathMtu: 1500, exact: true });
});
