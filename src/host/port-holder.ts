/**
 * Finds the process or kernel device that holds a UDP port.
 *
 * The usual holder is the kernel. A vxlan device that is up holds the port on every address, even
 * if the device was created with `local`. No process owns the socket of a vxlan device.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { dumpLinks, type Link } from './netlink/links.js';

/** The holder of a port, and how to free the port. */
export interface PortHolder {
  readonly holder: string;
  readonly cure: string;
}

/** @returns message for the user with cause and cure; never fails */
export async function explainPortInUse(port: number): Promise<string> {
  const found = await portHolder(port);
  if (found === undefined)
    return `UDP port ${port} is taken: a kernel socket holds it; choose another --port`;
  const { holder, cure } = found;
  return `UDP port ${port} is taken: ${holder} holds it; ${cure} or choose another --port`;
}

/**
 * Finds the holder of a port. Processes are checked before vxlan devices, because a vxlan device
 * can have its socket in another network namespace (flow offload uses such a device). Such a device
 * does not hold the port in this namespace.
 *
 * @returns undefined when no holder is found; never fails
 */
export async function portHolder(port: number): Promise<PortHolder | undefined> {
  return (await processHolder(port)) ?? (await kernelHolder(port));
}

/** Returns the vxlan device that holds the port; a device that is down holds no port. */
export function vxlanHolder(links: readonly Link[], port: number): Link | undefined {
  return links.find((link) => link.up && link.vxlanPort === port);
}

/**
 * Returns the inodes of the sockets bound to a port, from /proc/net/udp or udp6 (proc(5)):
 *
 *     sl  local_address rem_address   st … retrnsmt   uid  timeout inode …
 *     5916: 00000000:12B5 00000000:0000 07 …            0        0 8919 …
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
  const links = await dumpLinks().catch(() => []);
  const device = vxlanHolder(links, port);
  if (!device) return undefined;
  const cure = `it holds the port on every address of this network namespace, even with "local": delete it (ip link delete ${device.name})`;
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

/** Returns [] on failure: processes and descriptors may disappear during the search. */
function listOr(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

function readOr(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
