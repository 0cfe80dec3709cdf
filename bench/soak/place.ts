/**
 * The two hosts of the soak test, vtepd on both:
 *
 *     near 192.168.80.10 ======== veth ======== far 192.168.80.11
 *
 *     VNI 100     TCP from near to far; absent peers are added and removed
 *     VNI 101     UDP from near to far, and nothing else, so that frames can be counted
 *     VNI 102     UDP from far to near, likewise
 *     VNI 103     MACs that both learn
 *     VNI 200 …   added and removed
 *
 * Overlay addresses are 10.VNI.0.1 and 10.VNI.0.2. Neighbours in 101 and 102 are static, so that
 * ARP sends no frames there.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createNamespace, joinByVeth, type Namespace } from '../../test/support/netns.js';
import { Vtepd } from '../../test/support/vtepd.js';
import { eventually } from '../../test/support/wait.js';
import { scratchDirectory } from '../lab/scratch.js';
import type { Site } from '../lab/site.js';

export const TCP_VNI = 100;
export const UDP_VNI = 101;
export const UDP_BACK_VNI = 102;
export const LEARN_VNI = 103;
export const FIXED_VNIS = [TCP_VNI, UDP_VNI, UDP_BACK_VNI, LEARN_VNI];
const UNDERLAY_DEV = 'eth0';
const VTEPD = join(process.cwd(), 'dist/vtepd.js');
const HOOK = join(process.cwd(), 'bench/soak/hook.mjs');
const READY_MS = 20_000;

export interface Host {
  readonly name: 'near' | 'far';
  readonly space: Namespace;
  /** Underlay address. */
  readonly address: string;
  readonly vtepd: Vtepd;
  /** Event-loop delays of the main thread, ms; available once the daemon has ended. */
  lag(): { p50: number; p99: number; max: number };
}

export interface Place {
  readonly near: Host;
  readonly far: Host;
}

export async function makePlace(): Promise<Place> {
  const bare = { near: await createNamespace('near'), far: await createNamespace('far') };
  const end = (space: Namespace, address: string) => ({
    in: space,
    device: UNDERLAY_DEV,
    addresses: [`${address}/24`],
  });
  const [nearAddress, farAddress] = ['192.168.80.10', '192.168.80.11'];
  await joinByVeth(end(bare.near, nearAddress), end(bare.far, farAddress));
  const near = await startHost('near', bare.near, nearAddress, farAddress, 1);
  const far = await startHost('far', bare.far, farAddress, nearAddress, 2);
  for (const vni of [UDP_VNI, UDP_BACK_VNI]) {
    await addNeighbour(near, far, vni, 2);
    await addNeighbour(far, near, vni, 1);
  }
  const ping = `ping -n -q -c 1 -W 1 ${overlayAddress(TCP_VNI, 2)}`;
  await eventually('a ping', async () => (await near.space.outcome(ping)).code === 0, READY_MS);
  return { near, far };
}

export function overlayAddress(vni: number, which: number): string {
  return `10.${vni}.0.${which}`;
}

/** A host in one VNI, in the form that the tasks of the lab use. */
export function siteOf({ space, address }: Host, vni: number, which: number): Site {
  return { host: space, user: space, address: overlayAddress(vni, which), underlay: address, hasVm: false };
}

async function startHost(
  name: Host['name'],
  space: Namespace,
  address: string,
  peer: string,
  which: number,
): Promise<Host> {
  const directory = scratchDirectory(`soak-${name}`);
  const [config, socket, lagFile] = ['vtepd.yml', 'api', 'lag'].map((file) => join(directory, file));
  const vnis = FIXED_VNIS.map((vni) => `  - {vni: ${vni}, address: ${overlayAddress(vni, which)}/24}`);
  writeFileSync(config, `peers: [${peer}]\nfdbLimit: 1000\nvnis:\n${vnis.join('\n')}\n`);
  const state = join(directory, 'state.json');
  const flags = ['--config', config, '--api', `unix:${socket}`, '--state', state, '--log-level', 'error'];
  const process_ = space.start([process.execPath, '--import', HOOK, VTEPD, ...flags], {
    env: { SOAK_LAG_FILE: lagFile },
  });
  const vtepd = new Vtepd(space, process_, socket);
  await vtepd.ready();
  return { name, space, address, vtepd, lag: () => JSON.parse(readFileSync(lagFile, 'utf8')) };
}

async function addNeighbour(host: Host, other: Host, vni: number, which: number): Promise<void> {
  const device = `vtep${vni}`;
  const [link] = await other.space.show<{ address: string }>(`link show dev ${device}`);
  const address = overlayAddress(vni, which);
  await host.space.ip(`neigh replace ${address} lladdr ${link.address} dev ${device} nud permanent`);
}

/** Resident memory, bytes, and number of open descriptors of a daemon. */
export function sizeOf({ vtepd }: Host): { resident: number; descriptors: number } {
  const { pid } = vtepd.process;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    resident: Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** Frames dropped by the queue of a VNI's TAP, counted by the kernel. */
export async function tapQueueDrops({ space }: Host, vni: number): Promise<number> {
  const path = `/sys/class/net/vtep${vni}/statistics/tx_dropped`;
  return Number(await space.run(['cat', path]));
}

/** Datagrams dropped by the sockets of a UDP port (last column of /proc/net/udp). */
export async function socketDrops({ space }: Host, port: number): Promise<number> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const lines = (await space.run('cat /proc/net/udp')).split('\n');
  return lines
    .filter((line) => line.split(/\s+/)[2]?.endsWith(`:${hex}`))
    .reduce((sum, line) => sum + Number(line.trim().split(/\s+/).at(-1)), 0);
}
