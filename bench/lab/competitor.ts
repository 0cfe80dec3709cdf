/**
 * Who is compared: two hosts joined by one veth "wire", and on both the same VTEP.
 *
 *      host a                                        host b
 *     10.10.10.1  vxlan100 or vtep100                10.10.10.2 and 10.20.0.0/26
 *          │                                              │
 *       eth0 192.168.80.10 ───── veth, MTU 1500 ───── eth0 192.168.80.11
 *
 * Each competitor has namespaces of its own, made once: nobody's FDB, ARP or sockets are another's. 10.20.0.0/26 is
 * local to host b as a whole and gives one sender 64 flows.
 */
import { join } from 'node:path';
import type { Running } from '../../test/support/command.js';
import { createNamespace, joinByVeth, type Namespace } from '../../test/support/netns.js';
import { eventually, lastLines } from '../../test/support/wait.js';

export const ADDRESS_A = '10.10.10.1';
export const ADDRESS_B = '10.10.10.2';
/** First of the addresses that are flows. */
export const FLOWS_ADDRESS = '10.20.0.0';
export const FLOWS = 64;
const FLOWS_NETWORK = `${FLOWS_ADDRESS}/26`;

const UNDERLAY_A = '192.168.80.10';
const UNDERLAY_B = '192.168.80.11';
const UNDERLAY_DEV = 'eth0';
const VNI = 100;
const READY_MS = 20_000;

export interface Competitor {
  /** Key in the results. */
  readonly name: string;
  readonly a: Namespace;
  readonly b: Namespace;
  /** Daemons, if it has any. */
  readonly daemons: readonly Running[];
}

/** In the order of the table's columns. The first two are what the others are compared with. */
export const BASELINES = ['kernel', 'kernel-no-offload'] as const;
export const CONTENDERS = ['vtepd-batch', 'vtepd-dgram'] as const;

/** Sets all of them up, side by side, and waits until each carries a ping. */
export async function startCompetitors(): Promise<Competitor[]> {
  return [
    await startKernel('kernel', true),
    await startKernel('kernel-no-offload', false),
    await startVtepd('vtepd-batch', 'batch'),
    await startVtepd('vtepd-dgram', 'dgram'),
  ];
}

/** @throws Error with a daemon's last words if one has ended. */
export function assertAlive({ name, daemons }: Competitor): void {
  for (const daemon of daemons) {
    if (!daemon.alive) throw new Error(`${name} ended: ${lastLines(daemon.stderr || daemon.stdout)}`);
  }
}

/** The counterpart: Linux's own VXLAN device. */
async function startKernel(name: string, tunnelOffload: boolean): Promise<Competitor> {
  const { a, b } = await wire();
  const ends = [
    { host: a, local: UNDERLAY_A, remote: UNDERLAY_B, address: ADDRESS_A },
    { host: b, local: UNDERLAY_B, remote: UNDERLAY_A, address: ADDRESS_B },
  ];
  for (const { host, local, remote, address } of ends) {
    if (!tunnelOffload) {
      await host.run(
        `ethtool -K ${UNDERLAY_DEV} tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off`,
      );
    }
    const device = `vxlan${VNI}`;
    await host.ip(`link add ${device} type vxlan id ${VNI} local ${local} remote ${remote} dstport 4789 dev ${UNDERLAY_DEV}
      link set ${device} up
      address add ${address}/24 dev ${device}`);
  }
  return ready({ name, a, b, daemons: [] });
}

async function startVtepd(name: string, engine: 'batch' | 'dgram'): Promise<Competitor> {
  const { a, b } = await wire();
  const start = (host: Namespace, peer: string, address: string) =>
    host.start([
      process.execPath,
      join(process.cwd(), 'dist/vtepd.js'),
      ...`--vni ${VNI} --peer ${peer} --address ${address}/24 --io ${engine} --api off`.split(' '),
    ]);
  return ready({ name, a, b, daemons: [start(a, UNDERLAY_B, ADDRESS_A), start(b, UNDERLAY_A, ADDRESS_B)] });
}

/** Two hosts with an underlay of MTU 1500 and the veth's default offloads. */
async function wire(): Promise<{ a: Namespace; b: Namespace }> {
  const [a, b] = [await createNamespace('a'), await createNamespace('b')];
  await joinByVeth(
    { in: a, device: UNDERLAY_DEV, addresses: [`${UNDERLAY_A}/24`] },
    { in: b, device: UNDERLAY_DEV, addresses: [`${UNDERLAY_B}/24`] },
  );
  await b.ip(`route add local ${FLOWS_NETWORK} dev lo`);
  return { a, b };
}

async function ready(competitor: Competitor): Promise<Competitor> {
  const { name, a } = competitor;
  await eventually(
    `${name} to carry a ping`,
    async () => {
      assertAlive(competitor);
      return (await a.outcome(`ping -n -q -c 1 -W 1 ${ADDRESS_B}`)).code === 0;
    },
    READY_MS,
  );
  await a.ip(`route add ${FLOWS_NETWORK} via ${ADDRESS_B}`);
  return competitor;
}

/** Devices of host a and their offloads that are on, as `ethtool -k` has them. */
export async function offloadsOf({ a }: Competitor): Promise<Record<string, string[]>> {
  const offloads: Record<string, string[]> = {};
  for (const device of await a.devices()) {
    const { stdout } = await a.outcome(`ethtool -k ${device}`);
    offloads[device] = [...stdout.matchAll(/^\s*([\w-]+): on/gm)].map(([, feature]) => feature);
  }
  return offloads;
}
