/**
 * Settings with which this host ignores what machines of the overlay ask of it.
 *
 * A TAP or bridge is an interface of this host, and any machine of the overlay can send to it router
 * advertisements (RFC 4861 §4.2), which add addresses and default routes, and redirects (§4.5,
 * RFC 792), which change routes. A device that vtepd makes ignores both from before it is up, has no
 * link-local address until an IPv6 address is asked for, and answers ARP only for its own addresses
 * (Documentation/networking/ip-sysctl.rst). Devices of other programs are not changed.
 *
 * IPv4 settings and the mode of link-local addresses are set by netlink. IPv6 settings are files of
 * /proc/sys, which is read-only in many containers; then `obeyed` names the settings that are left.
 * IPv4 redirects cannot be refused for one device alone: the kernel accepts them if
 * `net.ipv4.conf.all.accept_redirects` or the setting of the device is 1.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Link, Machine } from './machine.js';
import { setLink } from './netlink/links.js';
import { NetlinkError } from './netlink/request.js';

type Family = 'ipv4' | 'ipv6';

interface Setting {
  readonly family: Family;
  readonly name: string;
  readonly value: number;
  /** IPV4_DEVCONF_* of linux/ip.h; 0: set by its file. */
  readonly devconf: number;
}

const SETTINGS: readonly Setting[] = [
  { family: 'ipv6', name: 'accept_ra', value: 0, devconf: 0 },
  { family: 'ipv6', name: 'autoconf', value: 0, devconf: 0 },
  { family: 'ipv6', name: 'accept_redirects', value: 0, devconf: 0 },
  // secure_redirects is not set: it restricts redirects that are accepted all the same.
  { family: 'ipv4', name: 'accept_redirects', value: 0, devconf: 4 },
  // An address of another device is neither answered for nor used as the source of ARP.
  { family: 'ipv4', name: 'arp_announce', value: 2, devconf: 18 },
  { family: 'ipv4', name: 'arp_ignore', value: 1, devconf: 19 },
];

const BY_NETLINK = new Map(
  SETTINGS.filter(({ devconf }) => devconf !== 0).map(({ devconf, value }) => [devconf, value]),
);

/**
 * Makes a device ignore the overlay; to be called before the device comes up. Best effort: `obeyed`
 * returns what could not be set.
 */
export async function ignoreOverlay(machine: Machine, { index, name, addrGenMode }: Link): Promise<void> {
  for (const setting of SETTINGS) if (setting.devconf === 0) write(name, setting);
  const mode = addrGenMode === '' ? {} : { addrGenMode: 'none' };
  try {
    await machine.change(setLink(`configure ${name}`, index, { ipv4: BY_NETLINK, ...mode }));
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
  }
}

/**
 * Returns the settings by which a device that vtepd made can still obey the overlay, as lines for
 * sysctl(8).
 *
 * @param device name
 */
export function obeyed(device: string): string[] {
  return SETTINGS.filter((setting) => isWrong(device, setting)).map((setting) => line(device, setting));
}

/**
 * Returns the settings by which a device of another program obeys router advertisements or IPv6
 * redirects, as lines for sysctl(8). A router obeys redirects never, and advertisements only with
 * `accept_ra=2`.
 */
export function obeying(device: string): string[] {
  if (currentOf('ipv6', device, 'disable_ipv6') === 1) return [];
  const isRouter = currentOf('ipv6', device, 'forwarding') === 1;
  if (isRouter && currentOf('ipv6', device, 'accept_ra') !== 2) return [];
  return SETTINGS.filter(
    ({ family, name }) => family === 'ipv6' && !(isRouter && name === 'accept_redirects'),
  )
    .filter((setting) => isWrong(device, setting))
    .map((setting) => line(device, setting));
}

/** True when this host accepts IPv4 redirects that arrive by a device whose own setting is 0. */
export function acceptsRedirects(device: string): boolean {
  const isRouter = currentOf('ipv4', device, 'forwarding') === 1;
  const ofDevice = currentOf('ipv4', device, 'accept_redirects') === 1;
  return currentOf('ipv4', 'all', 'accept_redirects') === 1 && (!isRouter || ofDevice);
}

/** A kernel without the family has no such file, and obeys nothing in it. */
function isWrong(device: string, { family, name, value }: Setting): boolean {
  const now = currentOf(family, device, name);
  return now !== undefined && now !== value;
}

function line(device: string, { family, name, value }: Setting): string {
  // sysctl(8) reads a dot in a name as a slash, unless the path has slashes.
  return device.includes('.')
    ? `net/${family}/conf/${device}/${name}=${value}`
    : `net.${family}.conf.${device}.${name}=${value}`;
}

function currentOf(family: Family, device: string, name: string): number | undefined {
  try {
    return Number(readFileSync(pathOf(family, device, name), 'utf8'));
  } catch {
    return undefined;
  }
}

function write(device: string, { family, name, value }: Setting): void {
  try {
    writeFileSync(pathOf(family, device, name), String(value), { flag: 'r+' });
  } catch {}
}

function pathOf(family: Family, device: string, name: string): string {
  return `/proc/sys/net/${family}/conf/${device}/${name}`;
}
