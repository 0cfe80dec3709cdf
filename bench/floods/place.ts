/**
 * The topology of the floods: three hosts on a switch. vtepd under test is `near`.
 *
 *     VM ─ br100 ─┐
 *                 ├ near vtepd ── 192.168.80.10 ──┐
 *     10.200.0.1 ─┘                               ├─ switch ─ 192.168.80.101 … .116: absent
 *     10.200.0.2 ── far vtepd ─── 192.168.80.11 ──┤
 *                   hostile ───── 192.168.80.12 ──┘
 *
 * VNI 100 is attacked by its peer `hostile` (with or without a vtepd), by forged sources, or by the
 * VM. The bridge exists only for attacks by the VM. The flood list of VNI 100 has 16 absent peers:
 * the switch sends their datagrams to `hostile`, whose device discards them.
 *
 * VNI 200 carries the known flow, between near and far. `far` is a peer of both VNIs, with ENTRIES
 * entries in each.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addBridge, createNamespace, joinByVeth, type Namespace } from '../../test/support/netns.js';
import { Vtepd } from '../../test/support/vtepd.js';
import { eventually } from '../../test/support/wait.js';
import { learn } from '../lab/blast.js';
import { scratchDirectory } from '../lab/scratch.js';
import { removeSites, type Site, UNDERLAY_DEV } from '../lab/site.js';
import type { FloodKind } from './kinds.js';

export const ATTACKED_VNI = 100;
const FLOW_VNI = 200;
export const VXLAN_PORT = '4789';
export const NEAR = '192.168.80.10';
const FAR = '192.168.80.11';
const HOSTILE = '192.168.80.12';
const ABSENT = Array.from({ length: 16 }, (_, i) => `192.168.80.${101 + i}`);
const ABSENT_MAC = '02:00:00:00:ff:01';
export const BRIDGE_ADDRESS = '10.100.0.254';
export const BRIDGE_BROADCAST = '10.100.0.255';
const BRIDGE = 'br100';
/** FDB entries behind `far` in each VNI. */
export const ENTRIES = 500;
const READY_MS = 20_000;
const VTEPD = join(process.cwd(), 'dist/vtepd.js');
/** Time limit until a flooded daemon answers again. */
const QUIET_MS = 30_000;

export interface Place {
  readonly near: Site;
  readonly far: Site;
  readonly hostile: Namespace;
  /** Sender of the floods of a VM; undefined for floods of a host. */
  readonly vm: Namespace | undefined;
  /** MAC of near's own port on the VM's bridge; '' without a bridge. */
  readonly bridgeMac: string;
  readonly vtepd: Vtepd;
  remove(): Promise<void>;
}

export async function makePlace({ from, isVtepd }: Pick<FloodKind, 'from' | 'isVtepd'>): Promise<Place> {
  const withVm = from === 'vm';
  const sites: Site[] = [];
  const daemons: Vtepd[] = [];
  const site = async (label: string, underlay: string, address = ''): Promise<Site> => {
    const host = await createNamespace(label);
    const made = { host, user: host, address, underlay, hasVm: false };
    sites.push(made);
    return made;
  };
  const remove = async () => {
    for (const daemon of daemons) await daemon.stop('SIGKILL').catch(() => undefined);
    await removeSites(sites);
  };
  try {
    const fabric = await site('switch', '');
    const near = await site('near', NEAR, '10.200.0.1');
    const far = await site('far', FAR, '10.200.0.2');
    const hostile = await site('hostile', HOSTILE);
    const vm = withVm ? await site('vm', '') : undefined;
    await joinHosts(fabric.host, [near, far, hostile]);
    await addAbsent(fabric.host, near.host);
    if (vm) await addVm(near.host, vm.host);
    const directory = scratchDirectory('floods');
    const start = async (at: Site, name: string, config: string) => {
      const file = join(directory, `${name}.yml`);
      writeFileSync(file, config);
      const socket = join(directory, `${name}.sock`);
      const flags = ['--config', file, '--api', `unix:${socket}`, '--state', 'off'];
      const vtepd = new Vtepd(at.host, at.host.start([process.execPath, VTEPD, ...flags]), socket);
      daemons.push(vtepd);
      await vtepd.ready();
      return vtepd;
    };
    // Started first: near requests the proof of `hostile` within the second after its own start.
    if (isVtepd)
      await start(hostile, 'hostile', `vnis:\n  - {vni: ${ATTACKED_VNI}, peers: ["${NEAR},flood=off"]}\n`);
    const vtepd = await start(near, 'near', nearConfig(withVm));
    await start(far, 'far', `vnis:\n${flowVni(far.address, NEAR)}`);
    await eventually('the known flow to pass', () => answers(near, far), READY_MS);
    for (const vni of [ATTACKED_VNI, FLOW_VNI]) await learn(far.host, NEAR, vni, ENTRIES);
    await eventually(
      `${2 * ENTRIES} entries`,
      async () => (await entriesOfFar(vtepd)) >= 2 * ENTRIES,
      READY_MS,
    );
    const bridgeMac = vm ? await macOf(near.host, BRIDGE) : '';
    return { near, far, hostile: hostile.host, vm: vm?.host, bridgeMac, vtepd, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Connects the hosts to the switch, without tunnel offloads, as with most network cards. */
async function joinHosts(fabric: Namespace, sites: readonly Site[]): Promise<void> {
  await addBridge(fabric, 'br0');
  for (const { host, underlay } of sites) {
    await joinByVeth(
      { in: host, device: UNDERLAY_DEV, addresses: [`${underlay}/24`] },
      { in: fabric, device: `to-${host.label}`, bridge: 'br0' },
    );
    await host.run(`ethtool -K ${UNDERLAY_DEV} tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off`);
    // Forged sources have no route: reverse-path filters are off, and a default route exists.
    await host.run(['sh', '-c', 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done']);
    await host.ip(`route add default dev ${UNDERLAY_DEV}`);
  }
}

async function addAbsent(fabric: Namespace, near: Namespace): Promise<void> {
  await fabric.run(`bridge fdb add ${ABSENT_MAC} dev to-hostile master static`);
  const lines = ABSENT.map(
    (address) => `neigh add ${address} lladdr ${ABSENT_MAC} dev ${UNDERLAY_DEV} nud permanent`,
  );
  await near.ip(lines.join('\n'));
}

async function addVm(near: Namespace, vm: Namespace): Promise<void> {
  await addBridge(near, BRIDGE);
  await near.ip(`address add ${BRIDGE_ADDRESS}/24 dev ${BRIDGE}`);
  await joinByVeth(
    { in: vm, device: 'eth0', mtu: 1450 },
    { in: near, device: 'to-vm', mtu: 1450, bridge: BRIDGE },
  );
}

function nearConfig(withVm: boolean): string {
  const peers = [`${FAR},flood=off`, `${HOSTILE},flood=off`, ...ABSENT].map((peer) => `"${peer}"`).join(', ');
  const bridge = withVm ? `bridge: ${BRIDGE}, ` : '';
  return `vnis:\n  - {vni: ${ATTACKED_VNI}, ${bridge}peers: [${peers}]}\n${flowVni('10.200.0.1', FAR)}`;
}

function flowVni(address: string, peer: string): string {
  return `  - {vni: ${FLOW_VNI}, address: ${address}/24, peers: [${peer}]}\n`;
}

async function answers(near: Site, far: Site): Promise<boolean> {
  return (await near.host.outcome(`ping -n -q -c 1 -W 1 ${far.address}`)).code === 0;
}

async function macOf(host: Namespace, device: string): Promise<string> {
  const [link] = await host.show<{ address: string }>(`link show dev ${device}`);
  return link.address;
}

/** FDB entries of both VNIs that point at `far`. @throws Error when the daemon does not answer */
export async function entriesOfFar(vtepd: Vtepd): Promise<number> {
  let found = 0;
  for (const vni of [ATTACKED_VNI, FLOW_VNI]) {
    const path = `/v1/vnis/${vni}/fdb?type=dynamic&peer=${FAR}&limit=1000`;
    const { status, body } = await vtepd.get<{ items: { mac: string }[] }>(path);
    if (status !== 200) throw new Error(`${path}: ${status}`);
    // Counts only entries made by `learn`, because the MAC of far's TAP is learned as well.
    found += body.items.filter(({ mac }) => mac.startsWith('02:01:')).length;
  }
  return found;
}

/** Variant of `entriesOfFar` that waits for an answer. @returns undefined if none came in QUIET_MS */
export async function entriesWhenQuiet(vtepd: Vtepd): Promise<number | undefined> {
  return eventually('an answer', () => entriesOfFar(vtepd).catch(() => undefined), QUIET_MS).catch(
    () => undefined,
  );
}
