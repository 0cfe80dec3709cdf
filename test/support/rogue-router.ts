/**
 * Frames of a machine that poses as a router: router advertisements (RFC 4861 §4.2) and redirects
 * (§4.5, RFC 792), and the kernel's counts of those that arrived.
 */
import { ethernet, onesSum } from './frames.js';
import { concat, hex } from './hex.js';
import type { Namespace } from './netns.js';

const ICMPV6 = 58;
/** The rogue router's own addresses. */
export const ROGUE_MAC = '02:66:66:66:66:66';
export const ROGUE_IPV6 = 'fe80::66';
const ROGUE = hex('fe80 0000 0000 0000 0000 0000 0000 0066');
const ALL_NODES = hex('ff02 0000 0000 0000 0000 0000 0000 0001');

/** Prefix that the advertisement announces. */
export const PREFIX = 'fd66::';

/** A router advertisement: default router for 1800 s, and PREFIX/64 for autoconfiguration. */
export function routerAdvertisement(): Uint8Array {
  const message = hex(`
    86 00 0000          # type 134, code, checksum
    40 00 0708          # hop limit 64, flags, router lifetime 1800 s
    00000000 00000000   # reachable time, retransmission timer
    01 01 026666666666  # source link-layer address
    03 04 40 c0         # prefix information: /64, on-link, autonomous
    00015180 00003840 00000000
    fd66 0000 0000 0000 0000 0000 0000 0000`);
  return icmpv6('33:33:00:00:00:01', ROGUE, ALL_NODES, message);
}

/**
 * An IPv6 redirect from ROGUE_IPV6 to fd09::1: the next hop to 2001:db8:66::1 is fe80::77.
 *
 * @param mac MAC of the redirected host
 */
export function ipv6Redirect(mac: string): Uint8Array {
  const message = hex(`
    89 00 0000 00000000 # type 137, code, checksum, reserved
    fe80 0000 0000 0000 0000 0000 0000 0077 # target
    2001 0db8 0066 0000 0000 0000 0000 0001 # destination
    02 01 027777777777  # target link-layer address`);
  return icmpv6(mac, ROGUE, hex('fd09 0000 0000 0000 0000 0000 0000 0001'), message);
}

/**
 * An IPv4 redirect from the gateway 10.9.0.66 to 10.9.0.1: the next hop to 198.51.100.1 is
 * 10.9.0.77. It quotes an answer to a ping.
 *
 * @param mac MAC of the redirected host
 */
export function ipv4Redirect(mac: string): Uint8Array {
  const quoted = ipv4([10, 9, 0, 1], [198, 51, 100, 1], hex('00 00 0000 0001 0001'));
  const message = concat(hex('05 01 0000 0a09004d'), quoted);
  return ethernet(mac, ROGUE_MAC, 0x0800, ipv4([10, 9, 0, 66], [10, 9, 0, 1], message));
}

/** Received messages of a type of ICMPv6, on one device. */
export async function received6(host: Namespace, device: string, type: number): Promise<number> {
  const { stdout } = await host.outcome(`cat /proc/net/dev_snmp6/${device}`);
  return Number(new RegExp(`^Icmp6InType${type}\\s+(\\d+)`, 'm').exec(stdout)?.[1] ?? 0);
}

/** Received IPv4 redirects. */
export async function redirects4(host: Namespace): Promise<number> {
  const text = await host.run('cat /proc/net/snmp');
  const [names, values] = text
    .split('\n')
    .filter((line) => line.startsWith('Icmp: '))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf('InRedirects')]);
}

/** An IPv4 packet with an ICMP message, whose checksum is filled in. */
function ipv4(from: readonly number[], to: readonly number[], message: Uint8Array): Uint8Array {
  const icmp = message.slice();
  new DataView(icmp.buffer).setUint16(2, ~onesSum(icmp) & 0xffff);
  const header = Uint8Array.from([0x45, 0, 0, 20 + icmp.length, 0, 0, 0, 0, 64, 1, 0, 0, ...from, ...to]);
  new DataView(header.buffer).setUint16(10, ~onesSum(header) & 0xffff);
  return concat(header, icmp);
}

function icmpv6(mac: string, from: Uint8Array, to: Uint8Array, message: Uint8Array): Uint8Array {
  const icmp = message.slice();
  const pseudo = concat(from, to, Uint8Array.of(0, 0, 0, icmp.length, 0, 0, 0, ICMPV6));
  new DataView(icmp.buffer).setUint16(2, ~onesSum(pseudo, icmp) & 0xffff);
  const header = Uint8Array.of(0x60, 0, 0, 0, 0, icmp.length, ICMPV6, 255);
  return ethernet(mac, ROGUE_MAC, 0x86dd, concat(header, from, to, icmp));
}
