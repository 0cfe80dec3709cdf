/**
 * Peers that are added and removed, and unreachable peers.
 *
 * Topology of test/support/three-hosts.ts with vtepd in a and kernel VTEPs in b and c. vtepd in a
 * gets peer c through its API only.
 */
import t from 'tap';
import { createLab, type Lab } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { assertPing, Listener, SteadyPing, sendUdp } from '../support/traffic.js';
import { ENGINES, type Engine, type Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const B = '192.168.80.11';
const C = '192.168.80.12';
/** Host of the underlay that is no VTEP and answers with ICMP "port unreachable". */
const NOT_A_VTEP = '192.168.80.13';
/** Address in the prefix of the underlay that no host has: ARP for it is never answered. */
const ABSENT = '192.168.80.99';
/** Address without a route. */
const UNROUTED = '203.0.113.1';
const PEERS = '/v1/vnis/100/peers';

for (const engine of ENGINES) {
  t.test(`adding and removing a peer through REST disturbs no other flow (${engine})`, async (t) => {
    const { lab, vma, vmc, vtepd } = await hostsAndOnePeer(t, engine);
    const steady = await SteadyPing.start(vma, '10.10.10.2');
    lab.keep(vma.tool('udp.mjs', 'stream', '10.10.10.255', 9000, 1));

    for (let round = 0; round < 3; round++) {
      t.equal((await vtepd.call('POST', PEERS, { address: C })).status, 201, 'c is a peer');
      await assertPing(t, vma, '10.10.10.3');
      t.ok(
        (await vtepd.fdb(100)).some((entry) => entry.peer === C),
        'an entry was learned from c',
      );
      t.equal((await vtepd.call('DELETE', `${PEERS}/${C}`)).status, 204, 'c is not a peer any more');
      t.notOk(
        (await vtepd.fdb(100)).some((entry) => entry.peer === C),
        'the FDB entries of c were removed with c',
      );
      assertIdentity(t, await vtepd.metrics());
    }
    await sendUdp(vmc, '10.10.10.255', 9000, 'from a stranger');
    await eventually(
      'frames from c to be dropped',
      async () => (await vtepd.metrics()).drops('decap', 100).source_not_peer > 0,
    );

    const { sent, lost } = await steady.stop();
    t.equal(lost, 0, `none of ${sent} pings to b was lost`);
    assertIdentity(t, await vtepd.metrics());
  });

  t.test(`unreachable peers do not affect the other peers (${engine})`, async (t) => {
    const { lab, vma, vmb, vtepd } = await hostsAndOnePeer(t, engine);
    for (const address of [NOT_A_VTEP, ABSENT, UNROUTED]) {
      t.equal((await vtepd.call('POST', PEERS, { address })).status, 201, `${address} joins the flood list`);
    }
    const steady = await SteadyPing.start(vma, '10.10.10.2');
    const listener = await Listener.start(lab, vmb, 9000);
    const texts = Array.from({ length: 500 }, (_, index) => `flood ${index}`);
    await sendUdp(vma, '10.10.10.255', 9000, ...texts);
    await listener.until(texts.at(-1)!);
    t.same(listener.received, texts, 'b received every broadcast once');

    const { sent, lost } = await steady.stop();
    t.equal(lost, 0, `none of ${sent} pings to b was lost`);
    // Engine dgram counts a send when its callback runs. Possibly b has received the frame earlier.
    await eventually(
      'each broadcast to be counted as sent to b, and as no_route for the unrouted peer',
      async () => {
        const metrics = await vtepd.metrics();
        const toB = metrics.sum('vtepd_peer_tx_frames_total', { vni: 100, peer: B });
        return toB >= texts.length && metrics.drops('encap', 100).no_route >= texts.length;
      },
    );
    assertIdentity(t, await vtepd.metrics());
  });
}

interface Three {
  lab: Lab;
  vma: Namespace;
  vmb: Namespace;
  vmc: Namespace;
  vtepd: Vtepd;
}

async function hostsAndOnePeer(t: Parameters<typeof createLab>[0], engine: Engine): Promise<Three> {
  const lab = createLab(t);
  const { a, b, c } = await lab.hosts({
    a: ['192.168.80.10/24'],
    b: [`${B}/24`],
    c: [`${C}/24`],
    closed: [`${NOT_A_VTEP}/24`],
  });
  for (const host of [a, b, c]) await lab.bridge(host);
  const vma = await lab.vm(a, 'vma', { address: '10.10.10.1/24' });
  const vmb = await lab.vm(b, 'vmb', { address: '10.10.10.2/24' });
  const vmc = await lab.vm(c, 'vmc', { address: '10.10.10.3/24' });
  await lab.kernelVtep(b, { vni: 100, local: B, remotes: ['192.168.80.10'] });
  await lab.kernelVtep(c, { vni: 100, local: C, remotes: ['192.168.80.10'] });
  const vtepd = await lab.vtepd(a, `--vni 100 --peer ${B} --bridge br-vxlan --io ${engine}`);
  return { lab, vma, vmb, vmc, vtepd };
}
