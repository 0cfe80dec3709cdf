/**
 * Trains that are to bring frames past the kernel's programs, or to have others' frames lost there (docs/decisions/0008).
 * flow_in reads the first datagram of one, whose IP header may state the length of all of them; those behind it are of
 * another VNI. Every train goes to user space, which judges each datagram by itself and counts what it drops.
 *
 *     vm100 ── br100 ── vtep100 ┐                            ┌ .11, peer of VNI 100 ── vxlan100 ── br100 ── far100
 *                             vtepd ── near eth0 ══ eth0 far ┤
 *     vm200 ── br200 ── vtep200 ┘     192.168.80.10          └ .12, peer of VNI 200 ── vxlan200 ── br200 ── far200
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ipv4Frame, TCP } from '../support/frames.js';
import { createLab } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { capture, ipOf } from '../support/pcap.js';
import { compileTool } from '../support/plain-user.js';
import { assertPing, assertTransfer } from '../support/traffic.js';
import { FAR, NEAR } from '../support/two-hosts.js';
import { eventually } from '../support/wait.js';

/** Address of each VNI's peer. */
const PEERS = { 100: FAR, 200: '192.168.80.12' } as const;
type Vni = keyof typeof PEERS;
const VNIS: readonly Vni[] = [100, 200];
const SOME_BYTES = 5 << 20;
/** TCP ports by which frames are known again. */
const HONEST = 7001;
const FORGED = 7002;
/** Datagrams behind the first one of a train. */
const BEHIND = 9;
const VXLAN_LEN = 8;
const IP_AT = VXLAN_LEN + 14;

t.test('a frame that hides in a train is judged by where it comes from', async (t) => {
  const lab = createLab(t);
  const program = await compileTool(lab.dir, 'train');
  const { near, far } = await lab.hosts({
    near: [`${NEAR}/24`],
    far: VNIS.map((vni) => `${PEERS[vni]}/24`),
  });
  const vms = {} as Record<Vni, { here: Namespace; there: Namespace }>;
  for (const vni of VNIS) {
    const bridge = `br${vni}`;
    await lab.bridge(near, bridge);
    await lab.bridge(far, bridge);
    vms[vni] = {
      here: await lab.vm(near, `vm${vni}`, {
        address: `${addressOf(vni, 1)}/24`,
        mac: macOf(vni, 1),
        bridge,
      }),
      there: await lab.vm(far, `far${vni}`, {
        address: `${addressOf(vni, 2)}/24`,
        mac: macOf(vni, 2),
        bridge,
      }),
    };
    await lab.kernelVtep(far, { vni, local: PEERS[vni], remotes: [NEAR], bridge });
  }
  const config = join(lab.dir, 'vtepd.yaml');
  writeFileSync(config, CONFIG);
  const vtepd = await lab.vtepd(near, `--config ${config} --flow-offload on`);
  const arrived = await capture(vms[200].here, 'eth0', lab.dir, `tcp dst portrange ${HONEST}-${FORGED}`);
  for (const vni of VNIS) {
    const { here, there } = vms[vni];
    await assertPing(t, there, addressOf(vni, 1));
    await assertTransfer(t, there, here, addressOf(vni, 1), SOME_BYTES);
  }

  const send = async (from: Vni, bytes: Buffer) => {
    const file = join(lab.dir, 'datagrams');
    writeFileSync(file, bytes);
    await far.run([program, file, String(datagram(100, HONEST).length), NEAR, '4789', PEERS[from]]);
  };
  const dropped = async () => (await vtepd.metrics()).drops('decap');
  await send(100, train(datagram(100, HONEST), datagram(200, FORGED)));
  await eventually(
    'user space to count what is forged',
    async () => (await dropped()).source_not_peer === BEHIND,
  );

  await send(100, spanning(train(datagram(100, HONEST), datagram(200, FORGED))));
  await eventually(
    'user space to count a train whose first datagram claims the others',
    async () => (await dropped()).source_not_peer === 2 * BEHIND,
  );
  await send(200, spanning(train(datagram(200, HONEST), datagram(200, HONEST))));
  await eventually(
    'what stands behind such a datagram of the peer to arrive',
    async () => (await arrived.frames()).length > BEHIND,
  );
  const ports = (await arrived.stop()).map((frame) => ipOf(frame)!.payload.readUInt16BE(2));
  // The peers are no vtepd: the kernel has cut their trains up, so a claim concerns the datagram alone that makes it.
  t.same(
    ports,
    new Array(BEHIND + 1).fill(HONEST),
    'nothing that is forged arrives, and all that is not does',
  );
  t.same(await dropped(), { source_not_peer: 2 * BEHIND }, 'every other datagram is counted');
  assertIdentity(t, await vtepd.metrics());
});

function macOf(vni: Vni, host: number): string {
  return `02:00:00:00:${vni === 100 ? '01' : '02'}:0${host}`;
}

function addressOf(vni: Vni, host: number): string {
  return `10.10.${vni}.${host}`;
}

/** Plain TCP from the station behind the peer of a VNI to the VM here, in VXLAN. */
function datagram(vni: Vni, destinationPort: number): Buffer {
  const vxlan = Buffer.alloc(VXLAN_LEN);
  vxlan[0] = 0x08;
  vxlan.writeUIntBE(vni, 4, 3);
  const [from, to] = [2, 1].map((host) => addressOf(vni, host).split('.').map(Number));
  const options = { protocol: TCP, destinationPort, payloadLen: 100, from, to };
  return Buffer.concat([vxlan, ipv4Frame(macOf(vni, 1), macOf(vni, 2), options)]);
}

function train(first: Buffer, behind: Buffer): Buffer {
  return Buffer.concat([first, ...new Array(BEHIND).fill(behind)]);
}

/** The first IP packet claims to be as long as the train, as that of a superframe is. */
function spanning(bytes: Buffer): Buffer {
  bytes.writeUInt16BE(bytes.length - IP_AT, IP_AT + 2);
  return bytes;
}

const CONFIG = `
vnis:
  - vni: 100
    bridge: br100
    peers: [${PEERS[100]}]
  - vni: 200
    bridge: br200
    peers: [${PEERS[200]}]
`;
