/**
 * VTEPs of a site: the kernel's vxlan device and vtepd.
 *
 * Each connects the user to the other site: its device has the overlay address, or is a port of the
 * bridge.
 */
import { join } from 'node:path';
import type { Running } from '../../test/support/command.js';
import type { Namespace } from '../../test/support/netns.js';
import { Vtepd } from '../../test/support/vtepd.js';
import { scratchDirectory } from './scratch.js';
import { BRIDGE, type Site, UNDERLAY_DEV } from './site.js';

export const VNI = 100;
const VTEPD = join(process.cwd(), 'dist/vtepd.js');

/** Sets up the VTEP of a site, without waiting until it carries traffic. */
export type Vtep = (site: Site, peer: Site) => Promise<Installed>;

export interface Installed {
  /** Processes of the VTEP; none for the kernel. */
  readonly daemons: readonly Running[];
  /** The daemon with its API, if it is vtepd. */
  readonly vtepd?: Vtepd;
}

export interface VtepdOptions {
  engine?: 'batch' | 'dgram';
  flags?: string;
  nodeFlags?: readonly string[];
  env?: Record<string, string>;
}

export const kernelVtep: Vtep = async (site, peer) => {
  const device = `vxlan${VNI}`;
  const remote = `local ${site.underlay} remote ${peer.underlay} dstport 4789 dev ${UNDERLAY_DEV}`;
  const attach = site.hasVm
    ? `link set ${device} master ${BRIDGE}`
    : `address add ${site.address}/24 dev ${device}`;
  await site.host.ip(`link add ${device} type vxlan id ${VNI} ${remote}
    link set ${device} up
    ${attach}`);
  return { daemons: [] };
};

export function vtepdVtep(options: VtepdOptions = {}): Vtep {
  return async ({ host, hasVm, address }, peer) => {
    const attach = hasVm ? `--bridge ${BRIDGE}` : `--address ${address}/24`;
    const flags = `--peer ${peer.underlay} ${attach} ${options.flags ?? ''}`;
    const vtepd = startVtepd(host, { ...options, flags });
    await vtepd.ready();
    return { daemons: [vtepd.process], vtepd };
  };
}

/** Starts a daemon of VNI 100 with its API on a unix socket, without waiting for readiness. */
export function startVtepd(
  host: Namespace,
  { engine = 'batch', flags = '', nodeFlags = [], env = {} }: VtepdOptions,
): Vtepd {
  const socket = join(scratchDirectory('vtepd'), 'api');
  const line = `--vni ${VNI} --io ${engine} --api unix:${socket} ${flags}`;
  const command = [process.execPath, ...nodeFlags, VTEPD, ...line.trim().split(/\s+/), '--state', 'off'];
  return new Vtepd(host, host.start(command, { env }), socket);
}
