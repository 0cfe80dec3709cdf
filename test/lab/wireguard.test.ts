/**
 * VXLAN inside WireGuard, as SECURITY.md describes it.
 *
 * wireguard-go provides WireGuard on a TUN device, because many kernels lack WireGuard. For vtepd
 * the TUN device and a WireGuard device of the kernel are alike: a device with an address. Engine
 * dgram does not support `--underlay-dev`; with this engine the lab shows the attack that the flag
 * prevents. "The tunnel" is that of WireGuard.
 *
 *     near                                             far
 *       vtep100  10.10.10.1                              vtep100  10.10.10.2
 *          |                                                |
 *       vtepd --local 172.16.0.1                         vtepd --local 172.16.0.2
 *          |  --underlay-dev wg…                            |  --underlay-dev wg…
 *          |                                                |
 *       wg…  172.16.0.1, MTU 1420                        wg…  172.16.0.2, MTU 1420
 *          |                                                |
 *       wireguard-go                                     wireguard-go
 *          |                                                |
 *       eth0  192.168.80.10 ============ veth ============ eth0  192.168.80.11
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createLab, type Lab, UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import type { Namespace } from '../support/netns.js';
import { type Capture, capture } from '../support/pcap.js';
import { assertPing, assertTransfer, Listener, sendUdp } from '../support/traffic.js';
import { FAR, NEAR } from '../support/two-hosts.js';
import { ENGINES, type Engine, type Vtepd } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const VNI = 100;
const WIREGUARD_PORT = 51820;
const VXLAN_PORT = 4789;
const WIREGUARD_MTU = 1420;
const VXLAN_OVERHEAD = 50;
const TRANSFER_BYTES = 1 << 20;
const SECRET = 'a payload in clear text';
const UDP_PORT = 9000;

interface End {
  host: Namespace;
  /** Address on the wire. */
  outer: string;
  /** Address in the tunnel. */
  tunnel: string;
  /** Address in the overlay. */
  overlay: string;
  /**
   * Device of the tunnel. Its name is unique on the machine: wireguard-go has a control socket of
   * this name, in a directory that all namespaces share.
   */
  device: string;
  vtepd: Vtepd;
}

for (const engine of ENGINES) {
  t.test(`VXLAN inside WireGuard works and is encrypted (${engine})`, async (t) => {
    const lab = createLab(t);
    const { near, far } = await tunnel(lab, engine);

    await assertPing(t, near.host, far.overlay);
    for (const end of [near, far]) await assertOverlayMtu(t, end);

    const wire = await capture(near.host, UNDERLAY_DEV, lab.dir);
    const inside = await capture(near.host, near.device, lab.dir);
    const listener = await Listener.start(lab, far.host, UDP_PORT);
    await assertTransfer(t, near.host, far.host, far.overlay, TRANSFER_BYTES);
    await assertTransfer(t, far.host, near.host, near.overlay, TRANSFER_BYTES);
    await assertPing(t, near.host, far.overlay);
    await sendUdp(near.host, far.overlay, UDP_PORT, SECRET);
    await listener.until(SECRET);
    await assertEncrypted(t, wire, inside);

    await assertBesideTunnel(t, lab, near, far, engine === 'dgram');
    assertIdentity(t, await near.vtepd.metrics(), 'near');
    assertIdentity(t, await far.vtepd.metrics(), 'far');
  });
}

/** Creates both ends and waits until vtepd is ready on both. */
async function tunnel(lab: Lab, engine: Engine): Promise<{ near: End; far: End }> {
  const hosts = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  const near = endOf(hosts.near, NEAR, '1');
  const far = endOf(hosts.far, FAR, '2');
  const keys = { near: await privateKey(near), far: await privateKey(far) };
  await startWireguard(lab, near, keys.near, far, await publicKey(far, keys.far));
  await startWireguard(lab, far, keys.far, near, await publicKey(near, keys.near));
  return {
    near: { ...near, vtepd: await startVtepd(lab, engine, near, far) },
    far: { ...far, vtepd: await startVtepd(lab, engine, far, near) },
  };
}

type BareEnd = Omit<End, 'vtepd'>;

let devices = 0;

function endOf(host: Namespace, outer: string, which: string): BareEnd {
  const [tunnel, overlay] = [`172.16.0.${which}`, `10.10.10.${which}`];
  // All namespaces share one directory of control sockets, which have the names of the devices.
  return { host, outer, tunnel, overlay, device: `wg${process.pid}x${devices++}` };
}

async function privateKey({ host }: BareEnd): Promise<string> {
  return (await host.run('wg genkey')).trim();
}

async function publicKey({ host }: BareEnd, key: string): Promise<string> {
  return (await host.run('wg pubkey', { input: `${key}\n` })).trim();
}

async function startWireguard(
  lab: Lab,
  { host, device, tunnel }: BareEnd,
  key: string,
  other: BareEnd,
  otherKey: string,
): Promise<void> {
  const wireguard = host.start(['wireguard-go', '--foreground', device]);
  // On SIGTERM wireguard-go removes its control socket.
  lab.before(async () => {
    await wireguard.stop();
  });
  const file = join(lab.dir, `${device}.conf`);
  const config = `[Interface]
PrivateKey = ${key}
ListenPort = ${WIREGUARD_PORT}

[Peer]
PublicKey = ${otherKey}
Endpoint = ${other.outer}:${WIREGUARD_PORT}
AllowedIPs = ${other.tunnel}/32
`;
  writeFileSync(file, config, { mode: 0o600 });
  await eventually(`${device} to accept its configuration`, async () => {
    if (!wireguard.alive) throw new Error(wireguard.stderr);
    return (await host.outcome(`wg setconf ${device} ${file}`)).code === 0;
  });
  await host.ip(`address add ${tunnel}/24 dev ${device}
    link set ${device} up`);
}

function startVtepd(lab: Lab, engine: Engine, own: BareEnd, other: BareEnd): Promise<Vtepd> {
  const bound = engine === 'batch' ? `--underlay-dev ${own.device}` : '';
  const flags = `--vni ${VNI} --local ${own.tunnel} --peer ${other.tunnel} --address ${own.overlay}/24`;
  return lab.vtepd(own.host, `${flags} ${bound} --io ${engine}`);
}

/**
 * Asserts that vtepd finds the overlay MTU without configuration: the device MTU of the tunnel
 * minus the VXLAN overhead.
 */
async function assertOverlayMtu(t: Test, { host, device, vtepd }: End): Promise<void> {
  const mtuOf = async (name: string) => (await host.show<{ mtu: number }>(`link show dev ${name}`))[0].mtu;
  t.equal(
    await mtuOf(device),
    WIREGUARD_MTU,
    `${host.label}: the MTU of the tunnel's device is that of WireGuard`,
  );
  const fits = WIREGUARD_MTU - VXLAN_OVERHEAD;
  const { body } = await vtepd.get<{ overlayMtu: number }>(`/v1/vnis/${VNI}`);
  t.equal(body.overlayMtu, fits, `${host.label}: the overlay MTU fits into the tunnel`);
  t.equal(await mtuOf(`vtep${VNI}`), fits, `${host.label}: the device MTU equals the overlay MTU`);
}

/** Asserts that packets are readable VXLAN inside the tunnel, and only WireGuard on the wire. */
async function assertEncrypted(t: Test, wire: Capture, inside: Capture): Promise<void> {
  await inside.until('the payload inside the tunnel', (packet) => packet.includes(SECRET));
  // A TUN device has no Ethernet header.
  const vxlan = (await inside.stop()).filter((packet) => portsOf(packet, 0)?.[1] === VXLAN_PORT);
  t.ok(vxlan.length > 0, `${vxlan.length} packets inside the tunnel are VXLAN`);

  const packets = (await wire.stop()).filter((frame) => frame.readUInt16BE(12) === 0x0800);
  t.ok(packets.length >= vxlan.length / 2, `${packets.length} packets were on the wire`);
  const others = packets.filter(
    (frame) => String(portsOf(frame, 14)) !== `${WIREGUARD_PORT},${WIREGUARD_PORT}`,
  );
  t.same(others, [], 'all packets on the wire are WireGuard');
  t.notOk(
    packets.some((frame) => frame.includes(SECRET)),
    'no packet contains the payload',
  );
}

/** UDP ports of an IPv4 packet. */
function portsOf(bytes: Buffer, ip: number): [source: number, destination: number] | undefined {
  if (bytes[ip] >> 4 !== 4 || bytes[ip + 9] !== 17) return undefined;
  const udp = ip + (bytes[ip] & 15) * 4;
  return [bytes.readUInt16BE(udp), bytes.readUInt16BE(udp + 2)];
}

/**
 * Sends a forged VXLAN datagram over the underlay, outside of the tunnel, and asserts whether vtepd
 * accepts the datagram. Its source and destination are the tunnel addresses of the two ends. Linux
 * accepts packets for any of its addresses on any device, so only `--underlay-dev` prevents that
 * vtepd receives the datagram.
 */
async function assertBesideTunnel(
  t: Test,
  lab: Lab,
  near: End,
  far: End,
  isAccepted: boolean,
): Promise<void> {
  const learned = async () => (await near.vtepd.fdb(VNI)).some(({ mac }) => mac === FORGED_MAC);
  await far.host.ip(`route add ${near.tunnel}/32 via ${near.outer} table ${TABLE}
    rule add ipproto udp sport ${FORGED_PORT} table ${TABLE} priority ${TABLE}`);
  const wire = await capture(near.host, UNDERLAY_DEV, lab.dir, `udp port ${VXLAN_PORT}`);
  const sender = await far.host.outcome([process.execPath, '-e', FORGE, far.tunnel, near.tunnel]);
  t.equal(sender.code, 0, `a datagram was sent outside of the tunnel ${sender.stderr}`);
  await wire.until('the forged datagram', (frame) => portsOf(frame, 14)?.[1] === VXLAN_PORT);
  await far.host.ip(`rule del priority ${TABLE}`);
  if (isAccepted) await eventually(`${FORGED_MAC} to be learned`, learned);
  await assertPing(t, near.host, far.overlay);
  t.equal(
    await learned(),
    isAccepted,
    `a datagram outside of the tunnel was ${isAccepted ? '' : 'not '}accepted`,
  );
}

const FORGED_MAC = '02:00:00:00:00:66';
/** Source port that vtepd does not use. */
const FORGED_PORT = 40_000;
const TABLE = 100;

/** `node -e FORGE FROM TO` sends one broadcast frame of FORGED_MAC. */
const FORGE = `
const [from, to] = process.argv.slice(1);
const socket = require('node:dgram').createSocket('udp4');
const frame = Buffer.alloc(60);
frame.write('ffffffffffff' + '${FORGED_MAC}'.replaceAll(':', '') + '88b5', 'hex');
socket.bind(${FORGED_PORT}, from, () =>
  socket.send([Buffer.from([8, 0, 0, 0, 0, 0, ${VNI}, 0]), frame], ${VXLAN_PORT}, to, () => socket.close()));
`;
