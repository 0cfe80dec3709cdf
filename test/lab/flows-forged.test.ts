/**
 * Trains with forged datagrams against flows through the kernel (docs/decisions/0008).
 *
 * The forged datagrams must not reach another VNI, and must not cause drops of valid frames.
 * flow_in, a BPF program of this option, reads only the first datagram of a train. The inner IP
 * header of this datagram can state the length of the whole train, although the later datagrams
 * belong to another VNI. flow_in must pass these trains to user space. User space checks each
 * datagram separately and counts each dropped datagram.
 *
 *     vm100 ─ br100 ─ vtep100 ┐                           ┌ .11, peer of VNI 100 ─ vxlan100 ─ br100
 *                           vtepd ── near eth0 ═ eth0 far ┤
 *     vm200 ─ br200 ─ vtep200 ┘     192.168.80.10         └ .12, peer of VNI 200 ─ vxlan200 ─ br200
 *
 *     far100 and far200 are VMs on the far bridges.
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
/** TCP port of valid frames. */
const VALID = 7001;
/** TCP port of forged frames. */
const FORGED = 7002;
/** Number of datagrams after the first datagram of a train. */
const BEHIND = 9;
const VXLAN_LEN = 8;
const IP_AT = VXLAN_LEN + 14;

t.test('each datagram of a train is checked against the peers of its own VNI', async (t) => {
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
  const vtepd = await lab.vtepd(near, `--config ${config} --kernel-path on`);
  const arrived = await capture(vms[200].here, 'eth0', lab.dir, `tcp dst portrange ${VALID}-${FORGED}`);
  for (const vni of VNIS) {
    const { here, there } = vms[vni];
    await assertPing(t, there, addressOf(vni, 1));
    await assertTransfer(t, there, here, addressOf(vni, 1), SOME_BYTES);
  }

  const send = async (from: Vni, bytes: Buffer) => {
    const file = join(lab.dir, 'datagrams');
    writeFileSync(file, bytes);
    await far.run([program, file, String(datagram(100, VALID).length), NEAR, '4789', PEERS[from]]);
  };
  const dropped = async () => (await vtepd.metrics()).drops('decap');
  await send(100, train(datagram(100, VALID), datagram(200, FORGED)));
  await eventually(
    'user space to count the forged datagrams',
    async () => (await dropped()).source_not_peer === BEHIND,
  );

  await send(100, spanning(train(datagram(100, VALID), datagram(200, FORGED))));
  await eventually(
    'user space to count the forged datagrams of a train whose first IP header states the length of the whole train',
    async () => (await dropped()).source_not_peer === 2 * BEHIND,
  );
  await send(200, spanning(train(datagram(200, VALID), datagram(200, VALID))));
  await eventually(
    'all datagrams of a valid train to arrive, although its first IP length is wrong',
    async () => (await arrived.frames()).length > BEHIND,
  );
  const ports = (await arrived.stop()).map((frame) => ipOf(frame)!.payload.readUInt16BE(2));
  // The peers are kernel VTEPs, not vtepd. The kernel therefore segments their trains before vtepd
  // receives them, and the wrong IP length affects only the first datagram.
  t.same(ports, new Array(BEHIND + 1).fill(VALID), 'all valid frames arrive, and no forged frame');
  t.same(await dropped(), { source_not_peer: 2 * BEHIND }, 'every forged datagram is counted');
  assertIdentity(t, await vtepd.metrics());
});

function macOf(vni: Vni, host: number): string {
  return `02:00:00:00:${vni === 100 ? '01' : '02'}:0${host}`;
}

function addressOf(vni: Vni, host: number): string {
  return `10.10.${vni}.${host}`;
}

/**
 * VXLAN datagram of a VNI. It contains a TCP segment from the far VM to the near VM of this VNI.
 */
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

/** Sets the length in the first inner IP header to that of the whole train, as in a superframe. */
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
