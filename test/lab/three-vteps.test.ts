/**
 * Three VTEPs on one VNI: vtepd with two kernel VTEPs, and two vtepd with one kernel VTEP.
 *
 * BUM frames arrive exactly once, and known unicast goes to one VTEP only. The FDB follows a MAC
 * that moves, ages out a silent MAC even while frames are sent to it, and keeps static entries.
 * Topology of test/support/three-hosts.ts.
 */
import t, { type Test } from 'tap';
import { UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { capture, udpOf, vxlanOf } from '../support/pcap.js';
import {
  LABELS,
  type Label,
  OVERLAY,
  type ThreeHosts,
  threeHosts,
  UNDERLAY,
} from '../support/three-hosts.js';
import { assertPing, Listener, sendUdp } from '../support/traffic.js';
import { ENGINES } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const BROADCAST = '10.10.10.255';
const PORT = 9000;
const COUNT = 50;
const ROAMER = { address: '10.10.10.9/24', mac: '02:00:00:00:00:09' };
const AGEING_S = 2;

const MIXES: { name: string; withVtepd: Label[] }[] = [
  { name: 'two kernel', withVtepd: ['a'] },
  { name: 'one kernel', withVtepd: ['a', 'b'] },
];

for (const engine of ENGINES) {
  for (const { name, withVtepd } of MIXES) {
    const variant = `${engine}, ${name}`;

    t.test(`each broadcast reaches each VM exactly once (${variant})`, async (t) => {
      const three = await threeHosts(t, engine, withVtepd);
      const listeners = await listenEverywhere(three);
      for (const from of LABELS)
        await sendUdp(three.vms[from], BROADCAST, PORT, ...texts(from), `last of ${from}`);
      for (const at of LABELS) {
        for (const from of others(at)) await listeners[at].until(`last of ${from}`);
        const expected = others(at).flatMap((from) => [...texts(from), `last of ${from}`]);
        const foreign = listeners[at].received.filter((text) => expected.includes(text));
        t.same(foreign.sort(), expected.sort(), `at ${at}: every broadcast of the others arrives once`);
      }
      await assertAllIdentities(t, three);
    });

    t.test(`known unicast goes to one VTEP only (${variant})`, async (t) => {
      const three = await threeHosts(t, engine, withVtepd);
      const { lab, hosts, vms, vtepd } = three;
      const listeners = await listenEverywhere(three);
      await assertPing(t, vms.a, OVERLAY.b);
      const flooded = await unknownUnicasts(three);

      const atC = await capture(hosts.c, UNDERLAY_DEV, lab.dir, 'udp port 4789');
      await sendUdp(vms.a, OVERLAY.b, PORT, ...texts('a'));
      await sendUdp(vms.a, BROADCAST, PORT, 'fence');
      await listeners.b.until('fence');
      const payloads = () => atC.frames().then((frames) => frames.map(innerPayload));
      await eventually('the fence frame to arrive at c', async () => (await payloads()).includes('fence'));
      await atC.stop();
      t.same(
        (await payloads()).filter((text) => text !== 'fence' && text !== ''),
        [],
        'c received none of the frames',
      );
      t.same(listeners.b.received, [...texts('a'), 'fence'], 'b received each frame once');
      t.equal(await unknownUnicasts(three), flooded, 'no unicast frame was flooded');
      t.match(await vtepd.fdb(100), [{ peer: UNDERLAY.b, type: 'dynamic' }], 'the FDB has an entry for b');
      await assertAllIdentities(t, three);
    });

    t.test(`the FDB follows a moved MAC at once (${variant})`, async (t) => {
      const three = await threeHosts(t, engine, withVtepd);
      const { lab, hosts, vms, vtepd } = three;
      const before = await lab.vm(hosts.b, 'roamer-b', ROAMER);
      const after = await lab.vm(hosts.c, 'roamer-c', ROAMER);
      await after.ip('link set eth0 down');
      await assertPing(t, vms.a, '10.10.10.9');
      t.equal(await peerOf(three, ROAMER.mac), UNDERLAY.b, 'the MAC is behind b');

      const listener = await Listener.start(lab, vms.a, PORT);
      await before.ip('link set eth0 down');
      await after.ip('link set eth0 up');
      await sendUdp(after, BROADCAST, PORT, 'I am here now');
      await listener.until('I am here now');
      await assertPing(t, vms.a, '10.10.10.9', 5);
      t.equal(await peerOf(three, ROAMER.mac), UNDERLAY.c, 'the MAC is behind c');
      t.equal((await vtepd.metrics()).sum('vtepd_fdb_moved_total', { vni: 100 }), 1, 'one move was counted');
      await assertAllIdentities(t, three);
    });

    t.test(
      `a silent MAC ages out even while frames are sent to it; static entries stay (${variant})`,
      async (t) => {
        const three = await threeHosts(t, engine, withVtepd, `--ageing ${AGEING_S}`);
        const { lab, vms, vtepd } = three;
        await assertPing(t, vms.a, OVERLAY.b);
        const mac = await macOf(three, 'b');
        const put = await vtepd.call('PUT', `/v1/vnis/100/fdb/${ROAMER.mac}`, { peer: UNDERLAY.c });
        t.ok(put.status >= 200 && put.status < 300, `the static entry is added: ${put.status}`);

        await vms.a.ip(`neigh replace ${OVERLAY.b} lladdr ${mac} dev eth0 nud permanent`);
        const flooded = await unknownUnicasts(three);
        await vms.b.ip('link set eth0 down');
        lab.keep(vms.a.tool('udp.mjs', 'stream', OVERLAY.b, PORT, 20));
        await eventually(
          'the entry to age out',
          async () => (await peerOf(three, mac)) === undefined || undefined,
        );
        await eventually(
          'frames to the MAC to be flooded',
          async () => (await unknownUnicasts(three)) > flooded,
        );

        const metrics = await vtepd.metrics();
        t.ok(metrics.sum('vtepd_fdb_aged_total', { vni: 100 }) >= 1, 'the entry was counted as aged');
        t.match(
          await vtepd.fdb(100),
          [{ mac: ROAMER.mac, peer: UNDERLAY.c, type: 'static' }],
          'the static entry is kept',
        );
        await assertAllIdentities(t, three);
      },
    );

    t.test(`a static entry is not overridden by learning (${variant})`, async (t) => {
      const three = await threeHosts(t, engine, withVtepd);
      const { lab, hosts, vtepd } = three;
      await vtepd.call('PUT', `/v1/vnis/100/fdb/${ROAMER.mac}`, { peer: UNDERLAY.b });
      const impostor = await lab.vm(hosts.c, 'impostor', ROAMER);
      await sendUdp(impostor, BROADCAST, PORT, 'I claim this MAC');
      await eventually(
        'the claim to be dropped',
        async () => (await vtepd.metrics()).drops('decap', 100).entry_exists === 1,
      );
      t.equal(await peerOf(three, ROAMER.mac), UNDERLAY.b, 'the entry is unchanged');
      await assertAllIdentities(t, three);
    });
  }
}

function texts(from: Label): string[] {
  return Array.from({ length: COUNT }, (_, index) => `${from}-${index}`);
}

function others(label: Label): Label[] {
  return LABELS.filter((other) => other !== label);
}

async function listenEverywhere({ lab, vms }: ThreeHosts): Promise<Record<Label, Listener>> {
  const start = (label: Label) => Listener.start(lab, vms[label], PORT);
  return { a: await start('a'), b: await start('b'), c: await start('c') };
}

/** UDP payload of the frame inside a captured VXLAN datagram; '' when there is none. */
function innerPayload(frame: Buffer): string {
  const inner = vxlanOf(frame)?.inner;
  const datagram = inner && udpOf(inner);
  return datagram?.destinationPort === PORT ? datagram.payload.toString() : '';
}

async function unknownUnicasts({ vtepd }: ThreeHosts): Promise<number> {
  return (await vtepd.metrics()).sum('vtepd_flooded_frames_total', { vni: 100, class: 'unknown_unicast' });
}

/** Peer of a MAC in the FDB of vtepd on host a. */
async function peerOf({ vtepd }: ThreeHosts, mac: string): Promise<string | undefined> {
  return (await vtepd.fdb(100)).find((entry) => entry.mac === mac)?.peer;
}

async function macOf({ vms }: ThreeHosts, label: Label): Promise<string> {
  const [link] = await vms[label].show<{ address: string }>('link show dev eth0');
  return link.address;
}

async function assertAllIdentities(t: Test, { daemons }: ThreeHosts): Promise<void> {
  for (const label of LABELS) {
    const daemon = daemons[label];
    if (daemon !== undefined) assertIdentity(t, await daemon.metrics(), `vtepd in ${label}`);
  }
}
