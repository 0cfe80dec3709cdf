/**
 * Who holds a UDP port that we wanted, in one sentence. The usual suspect is the kernel: a vxlan device that is up
 * holds the port on every address, even when it was made with `local`, and belongs to no process.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { type Link, linksOfKind } from './link.js';

/** Who has a port, and what gives it back. */
export interface PortHolder {
  readonly holder: string;
  readonly cure: string;
}

/** @returns what to tell the user, cause and cure; never fails */
export async function explainPortInUse(port: number): Promise<string> {
  const found = await portHolder(port);
  if (found === undefined)
    return `UDP port ${port} is taken: a socket of the kernel holds it: give --port another one`;
  const { holder, cure } = found;
  return `UDP port ${port} is taken: ${holder} holds it; ${cure} or give --port another one`;
}

/**
 * Processes first: a vxlan device of a namespace of its own has the same port there, as that of vtepd's flows.
 * @returns undefined when nobody can be named; never fails
 */
export async function portHolder(port: number): Promise<PortHolder | undefined> {
  return (await processHolder(port)) ?? (await kernelHolder(port));
}

/** A device that is down has given the port back. */
export function vxlanHolder(links: readonly Link[], port: number): Link | undefined {
  return links.find((link) => link.up && link.data.port === port);
}

/**
 * Inodes of the sockets bound to a port, from /proc/net/udp or udp6 (proc(5)):
 *
 *     sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode …
 *     5916: 00000000:12B5 00000000:0000 07 …                                         0        0 8919 …
 */
export function inodesOf(procNetUdp: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return procNetUdp
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields.length > 9 && fields[1].endsWith(suffix))
    .map((fields) => fields[9]);
}

async function kernelHolder(port: number): Promise<PortHolder | undefined> {
  const links = await linksOfKind('vxlan').catch(() => []);
  const device = vxlanHolder(links, port);
  if (!device) return undefined;
  const cure = `it takes every address of this network namespace, even with "local": delete it (ip link delete ${device.name})`;
  return { holder: `${device.name} (kernel vxlan)`, cure };
}

async function processHolder(port: number): Promise<PortHolder | undefined> {
  const tables = await Promise.all(['/proc/net/udp', '/proc/net/udp6'].map(readOr));
  const sockets = new Set(
    tables.flatMap((table) => inodesOf(table, port)).map((inode) => `socket:[${inode}]`),
  );
  for (const pid of await listOr('/proc')) {
    if (!/^\d+$/.test(pid) || !(await holdsOne(pid, sockets))) continue;
    const name = (await readOr(`/proc/${pid}/comm`)).trim();
    return { holder: `process ${pid} (${name})`, cure: 'stop it' };
  }
  return undefined;
}

async function holdsOne(pid: string, sockets: ReadonlySet<string>): Promise<boolean> {
  for (const fd of await listOr(`/proc/${pid}/fd`)) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
    if (sockets.has(target)) return true;
  }
  return false;
}

/** Processes and descriptors come and go while they are looked at. */
function listOr(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

function readOr(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
