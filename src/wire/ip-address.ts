/**
 * IP addresses as text (RFC 4291 §2.2, written as RFC 5952 wants) and as the 16 bytes that a packed peer row takes.
 * Cold path: configuration, the control API, messages for people.
 *
 * What is accepted is what cannot be misread: four decimal numbers without leading zeros, or IPv6; not the
 * forms of inet_aton (`1.2`, `0x7f.1`, `010.0.0.1`). An IPv4-mapped address (`::ffff:192.0.2.1`) *is* that IPv4
 * address: the kernel would send IPv4, and one peer must not have two names.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

export interface IpAddress {
  readonly family: 4 | 6;
  /** 16 bytes in network order; IPv4 in the first four, zeros behind. */
  readonly bytes: Uint8Array;
  /** Interface name or index of a link-local IPv6 address (RFC 4007 §11), '' when none was given. */
  readonly scope: string;
  /** Canonical, with `%scope`: equal addresses have equal texts. */
  readonly text: string;
}

/** What Linux takes for an interface name: no slash, no space, at most 15 bytes. */
const SCOPE_TEXT = /^[^\s/%]{1,15}$/;
/** IPv4-compatible, retired by RFC 4291 §2.5.5.1: ipaddr.js reads it as IPv4-mapped, others do not. */
const COMPATIBLE_TEXT = /^::\d+\./;
const PREFIX_TEXT = /^(?:0|[1-9]\d{0,2})$/;

/** @returns undefined for what is no address, and for a scope on anything but fe80::/10. */
export function parseIpAddress(text: string): IpAddress | undefined {
  const [host, scope] = splitScope(text);
  const family = isIP(host);
  if (family === 0 || scope === undefined || COMPATIBLE_TEXT.test(host)) return undefined;
  const parsed = ipaddr.process(host);
  const bytes = new Uint8Array(16);
  bytes.set(parsed.toByteArray());
  const address = makeIpAddress(parsed.kind() === 'ipv4' ? 4 : 6, bytes, scope);
  return scope === '' || isLinkLocal(address) ? address : undefined;
}

/** @param bytes at least 4 or 16; they are copied. */
export function makeIpAddress(family: 4 | 6, bytes: Uint8Array, scope = ''): IpAddress {
  const own = new Uint8Array(16);
  own.set(bytes.subarray(0, family === 4 ? 4 : 16));
  return { family, bytes: own, scope, text: formatIpAddress(family, own, scope) };
}

/** Dotted decimal, or RFC 5952 with `%scope`. */
export function formatIpAddress(family: 4 | 6, bytes: Uint8Array, scope = ''): string {
  if (family === 4) return bytes.subarray(0, 4).join('.');
  const text = new ipaddr.IPv6(Array.from(bytes.subarray(0, 16))).toRFC5952String();
  return scope === '' ? text : `${text}%${scope}`;
}

/** `192.0.2.1/24`, `2001:db8::1/64`: an interface's address, host bits kept. No scope: the device gives it. */
export function parseCidr(text: string): { address: IpAddress; length: number } | undefined {
  const slash = text.lastIndexOf('/');
  const address = parseIpAddress(text.slice(0, Math.max(slash, 0)));
  const prefix = text.slice(slash + 1);
  if (address === undefined || address.scope !== '' || !PREFIX_TEXT.test(prefix)) return undefined;
  const length = Number(prefix);
  return length <= (address.family === 4 ? 32 : 128) ? { address, length } : undefined;
}

/** 224.0.0.0/4, ff00::/8. */
export function isMulticastAddress({ family, bytes }: IpAddress): boolean {
  return family === 4 ? bytes[0] >>> 4 === 0xe : bytes[0] === 0xff;
}

/** 0.0.0.0, ::. */
export function isUnspecified({ bytes }: IpAddress): boolean {
  return bytes.every((byte) => byte === 0);
}

/** fe80::/10: means nothing without a scope. IPv4's 169.254.0.0/16 needs none and is not meant. */
export function isLinkLocal({ family, bytes }: IpAddress): boolean {
  return family === 6 && bytes[0] === 0xfe && (bytes[1] & 0xc0) === 0x80;
}

/** [address, scope]; the scope is undefined when it is there but is no interface's name. */
function splitScope(text: string): [string, string | undefined] {
  const percent = text.indexOf('%');
  if (percent < 0) return [text, ''];
  const scope = text.slice(percent + 1);
  return [text.slice(0, percent), SCOPE_TEXT.test(scope) ? scope : undefined];
}
