/**
 * IP addresses as text (RFC 4291 §2.2, RFC 5952) and as packed bytes.
 *
 * The packed form is the 16 bytes of a peer row. This module serves configuration, the control API,
 * log lines and errors. It is not called on the hot path.
 *
 * Only unambiguous text is accepted: IPv6, or four decimal numbers without leading zeros. The forms
 * of inet_aton (`1.2`, `0x7f.1`, `010.0.0.1`) are rejected. An IPv4-mapped address
 * (`::ffff:192.0.2.1`) becomes that IPv4 address, because the kernel would send IPv4 to it, and
 * each peer must have exactly one canonical text.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

export interface IpAddress {
  readonly family: 4 | 6;
  /** 16 bytes in network order; IPv4 in the first four, followed by zeros. */
  readonly bytes: Uint8Array;
  /** Interface name or index of a link-local IPv6 address (RFC 4007 §11); '' if absent. */
  readonly scope: string;
  /** Canonical text, with `%scope`: equal addresses have equal texts. */
  readonly text: string;
}

/** Interface name as Linux accepts it: no slash, no space, at most 15 bytes. */
const SCOPE_TEXT = /^[^\s/%]{1,15}$/;
/**
 * IPv4-compatible addresses, deprecated by RFC 4291 §2.5.5.1. ipaddr.js parses such addresses as
 * IPv4-mapped; other parsers do not.
 */
const COMPATIBLE_TEXT = /^::\d+\./;
const PREFIX_TEXT = /^(?:0|[1-9]\d{0,2})$/;

/** @returns undefined if the text is no address, or has a scope outside fe80::/10 */
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

/** @param bytes at least 4 or 16 bytes, which are copied */
export function makeIpAddress(family: 4 | 6, bytes: Uint8Array, scope = ''): IpAddress {
  const own = new Uint8Array(16);
  own.set(bytes.subarray(0, family === 4 ? 4 : 16));
  return { family, bytes: own, scope, text: formatIpAddress(family, own, scope) };
}

/** Returns dotted decimal, or RFC 5952 text with `%scope`. */
export function formatIpAddress(family: 4 | 6, bytes: Uint8Array, scope = ''): string {
  if (family === 4) return bytes.subarray(0, 4).join('.');
  const text = new ipaddr.IPv6(Array.from(bytes.subarray(0, 16))).toRFC5952String();
  return scope === '' ? text : `${text}%${scope}`;
}

/**
 * Parses an interface address such as `192.0.2.1/24` or `2001:db8::1/64` and keeps its host bits. A
 * scope is rejected, because the device determines it.
 */
export function parseCidr(text: string): { address: IpAddress; length: number } | undefined {
  const slash = text.lastIndexOf('/');
  const address = parseIpAddress(text.slice(0, Math.max(slash, 0)));
  const prefix = text.slice(slash + 1);
  if (address === undefined || address.scope !== '' || !PREFIX_TEXT.test(prefix)) return undefined;
  const length = Number(prefix);
  return length <= (address.family === 4 ? 32 : 128) ? { address, length } : undefined;
}

/** Matches 224.0.0.0/4 and ff00::/8. */
export function isMulticastAddress({ family, bytes }: IpAddress): boolean {
  return family === 4 ? bytes[0] >>> 4 === 0xe : bytes[0] === 0xff;
}

/** Matches 0.0.0.0 and ::. */
export function isUnspecified({ bytes }: IpAddress): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Matches fe80::/10, which needs a scope. IPv4's 169.254.0.0/16 needs none and does not match. */
export function isLinkLocal({ family, bytes }: IpAddress): boolean {
  return family === 6 && bytes[0] === 0xfe && (bytes[1] & 0xc0) === 0x80;
}

/**
 * Returns [address, scope]; the scope is undefined if it is present but not a valid interface name.
 */
function splitScope(text: string): [string, string | undefined] {
  const percent = text.indexOf('%');
  if (percent < 0) return [text, ''];
  const scope = text.slice(percent + 1);
  return [text.slice(0, percent), SCOPE_TEXT.test(scope) ? scope : undefined];
}
