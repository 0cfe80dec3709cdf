/**
 * Scenario 1: two hosts with VMs on a bridge, vtepd on one, kernel vxlan on the other.
 *
 *     vm101 .101   vm103 .103                          vm105 .105   vm107 .107     10.10.10.0/24
 *         |            |                                   |            |          MTU 1450
 *      [ br-vxlan ------- ]                             [ br-vxlan ------- ]
 *         |                                                |
 *       vtep100  TAP                                    vxlan100  kernel
 *         |                                                |
 *       vtepd --vni 100                                    |
 *         |                                                |
 *     near  eth0 192.168.80.10 ====== veth, 1500 ====== eth0 192.168.80.11  far
 *
 * Neither the VMs nor a capture of the wire can distinguish vtepd from a kernel VTEP.
 */
import t from 'tap';
import { UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { type Namespace, segmentInSoftware } from '../support/netns.js';
import { arpOperation, capture, ipOf, isProbe, macAt, udpOf, vxlanOf } from '../support/pcap.js';
import { assertPing, assertTransfer, iperf, tlsExchange } from '../support/traffic.js';
import { NEAR, twoHosts } from '../support/two-hosts.js';
import { ENGINES } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const TRANSFER_BYTES = 200 * 1024 * 1024;
const RESPONSE_BYTES = 32 * 1024 * 1024;
const FLOWS = 200;
/** Number of sockets in the source-port pool: the maximum number of ports in a capture. */
const SOURCE_SOCKETS = 64;

for (const engine of ENGINES) {
  t.test(`pings cross in both directions (${engine})`, async (t) => {
    const { lab, near, vm101, vm103, vm105, vm107, vtepd } = await twoHosts(t, engine);
    const wire = await capture(near, UNDERLAY_DEV, lab.dir, 'udp port 4789');
    await assertPing(t, vm101, '10.10.10.105');
    await assertPing(t, vm107, '10.10.10.103');

    t.same(
      await neighbour(vm101, '10.10.10.105'),
      await ownMac(vm105),
      'ARP was resolved through the overlay',
    );
    t.same(
      await neighbour(vm107, '10.10.10.103'),
      await ownMac(vm103),
      'ARP was resolved in the other direction',
    );

    const frames = (await wire.stop()).filter((frame) => !isProbe(frame));
    const datagrams = frames.map((frame) => vxlanOf(frame));
    for (const datagram of datagrams) {
      t.match(
        datagram,
        { flags: 0x08, reserved: 0, vni: 100, destinationPort: 4789 },
        'the VXLAN header is that of VNI 100',
      );
    }
    const inner = datagrams.map((datagram) => datagram!.inner);
    t.ok(
      inner.find((frame) => arpOperation(frame) === 1),
      'the ARP request is on the wire',
    );
    const echo = inner.find((frame) => ipOf(frame)?.source === '10.10.10.101' && ipOf(frame)?.protocol === 1);
    t.equal(macAt(echo!, 0), await ownMac(vm105), 'the inner destination MAC of the ping is that of vm105');
    t.equal(macAt(echo!, 6), await ownMac(vm101), 'the inner source MAC of the ping is that of vm101');
    t.equal(ipOf(echo!)!.destination, '10.10.10.105', 'the inner destination address is that of vm105');
    t.equal(ipOf(echo!)!.payload[0], 8, 'the inner packet is an echo request');
    assertIdentity(t, await vtepd.metrics());
  });

  t.test(`200 MB over TCP arrive intact in both directions (${engine})`, async (t) => {
    const { vm101, vm105, vtepd } = await twoHosts(t, engine);
    await assertTransfer(t, vm101, vm105, '10.10.10.105', TRANSFER_BYTES);
    await assertTransfer(t, vm105, vm101, '10.10.10.101', TRANSFER_BYTES);
    assertIdentity(t, await vtepd.metrics());
  });

  t.test(`iperf3 runs in both directions (${engine})`, async (t) => {
    const { vm101, vm105, vtepd } = await twoHosts(t, engine);
    for (const [from, to, address] of [
      [vm101, vm105, '10.10.10.105'],
      [vm105, vm101, '10.10.10.101'],
    ] as const) {
      const bitsPerSecond = await iperf(from, to, address);
      t.comment(`${engine}: ${from.label} to ${to.label} ${(bitsPerSecond / 1e9).toFixed(2)} Gb/s`);
      t.ok(
        bitsPerSecond > (engine === 'batch' ? 1e9 : 0),
        `the rate from ${from.label} to ${to.label} is ${bitsPerSecond} b/s`,
      );
    }
    assertIdentity(t, await vtepd.metrics());
  });

  t.test(`a TLS session with client certificate carries a large response (${engine})`, async (t) => {
    const { lab, vm101, vm105, vtepd } = await twoHosts(t, engine);
    for (const [from, to, address] of [
      [vm101, vm105, '10.10.10.105'],
      [vm105, vm101, '10.10.10.101'],
    ] as const) {
      const { client, server } = await tlsExchange(from, to, address, RESPONSE_BYTES, lab.dir);
      t.match(
        client,
        { bytes: RESPONSE_BYTES, sha256: server.sha256, serverName: 'api-server' },
        `${from.label} received the response`,
      );
      t.equal(server.clientName, 'worker-1', 'the server received the client certificate');
    }
    assertIdentity(t, await vtepd.metrics());
  });

  t.test(`the source port is constant within a flow and differs among flows (${engine})`, async (t) => {
    const { lab, near, vm101, vm105, vtepd } = await twoHosts(t, engine);
    const listener = lab.keep(vm105.tool('udp.mjs', 'listen', 9000));
    await listener.untilOutput(/listening/);
    // Resolves the neighbour first: the kernel queues few packets during ARP.
    await assertPing(t, vm101, '10.10.10.105');
    await segmentInSoftware(near, UNDERLAY_DEV);
    const wire = await capture(near, UNDERLAY_DEV, lab.dir, `udp port 4789 and src host ${NEAR}`);
    t.equal(
      await vm101.tool('udp.mjs', 'flows', '10.10.10.105', 9000, FLOWS, 5).exit(20_000),
      0,
      'all flows were sent',
    );
    await eventually('all datagrams to arrive', () => listener.stdout.match(/flow/g)?.length === FLOWS * 5);

    const portsOf = new Map<string, Set<number>>();
    for (const frame of await wire.stop()) {
      const datagram = vxlanOf(frame)!;
      const flow = udpOf(datagram.inner);
      if (flow?.destinationPort !== 9000) continue;
      const name = flow.payload.toString();
      portsOf.set(name, (portsOf.get(name) ?? new Set()).add(datagram.sourcePort));
    }
    t.equal(portsOf.size, FLOWS, 'every flow was captured');
    t.same(
      [...portsOf.values()].filter((ports) => ports.size !== 1),
      [],
      'no flow changed its source port',
    );
    const ports = new Set([...portsOf.values()].flatMap((ports) => [...ports]));
    t.ok(ports.size >= SOURCE_SOCKETS * 0.75, `${FLOWS} flows use ${ports.size} source ports`);
    t.same(
      [...ports].filter((port) => port < 49152),
      [],
      'all ports are in the range of --source-ports',
    );
    assertIdentity(t, await vtepd.metrics());
  });
}

/** MAC to which a VM has resolved an address. */
async function neighbour(vm: Namespace, address: string): Promise<string | undefined> {
  const [entry] = await vm.show<{ lladdr?: string }>(`neigh show ${address}`);
  return entry?.lladdr;
}

async function ownMac(vm: Namespace): Promise<string> {
  const [link] = await vm.show<{ address: string }>('link show dev eth0');
  return link.address;
}
