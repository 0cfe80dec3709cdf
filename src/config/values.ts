/**
 * Parsers of single values: text to value.
 *
 * Flags, the YAML file and the control API use the same parsers, so the same rules and messages
 * apply everywhere. A parser throws ValueError ("must be …") for text that is not allowed.
 */
import {
  type IpAddress,
  isLinkLocal,
  isMulticastAddress,
  isUnspecified,
  parseCidr,
  parseIpAddress,
} from '../wire/ip-address.js';
import { formatMac, isMulticastMac, parseMac } from '../wire/mac.js';
import { ValueError } from './config-error.js';

/** Address on which the API listens. */
export type ApiListen =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'off' };

/** RFC 7348 §5: 24 bits. */
const VNI_MAX = 0xffffff;

const MARK_MAX = 0xffffffff;

/** IFNAMSIZ minus the terminating zero. */
const INTERFACE_NAME_MAX = 15;
/** sun_path has 108 bytes, including the terminating zero (unix(7)). */
const UNIX_PATH_MAX = 107;
/** Sockets in the source-port pool of one address family; `--df inherit` has twice as many. */
export const SOURCE_PORTS_MIN = 64;

/**
 * Returns a parser for decimal whole numbers from `min` to `max`, without sign, hexadecimal digits
 * or leading zeros.
 */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^(0|[1-9]\d{0,15})$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new ValueError(`must be a whole number from ${min} to ${max}`);
  };
}

export const parseVni = wholeNumber(0, VNI_MAX);
export const parsePort = wholeNumber(1, 65535);

/** Parses `on` and `off`, and YAML's `true` and `false`. */
export function parseSwitch(text: string): boolean {
  if (text === 'on' || text === 'true') return true;
  if (text === 'off' || text === 'false') return false;
  throw new ValueError('must be "on" or "off"');
}

/** Returns a parser that accepts the given words. */
export function oneOf<const W extends string>(...words: W[]): (text: string) => W {
  return (text) => {
    const word = words.find((candidate) => candidate === text);
    if (word !== undefined) return word;
    const quoted = words.map((candidate) => `"${candidate}"`);
    const last = quoted.pop();
    throw new ValueError(`must be ${quoted.length === 0 ? last : `${quoted.join(', ')} or ${last}`}`);
  };
}

/**
 * Parses an overlay MTU in bytes. 68 is the minimum of IPv4 (RFC 791), 65535 the maximum of the IP
 * length field.
 */
export function parseMtu(text: string): number | 'auto' {
  if (text === 'auto') return text;
  try {
    return wholeNumber(68, 65535)(text);
  } catch {
    throw new ValueError('must be "auto" or a whole number from 68 to 65535');
  }
}

/**
 * Parses a TOS byte or `inherit`. The two ECN bits must be 0, because vtepd copies these bits from
 * the inner packet.
 */
export function parseTos(text: string): number | 'inherit' {
  if (text === 'inherit') return text;
  const value = /^(0|[1-9]\d{0,2})$/.test(text) ? Number(text) : Number.NaN;
  if (value <= 252 && value % 4 === 0) return value;
  throw new ValueError(
    'must be "inherit" or a multiple of 4 from 0 to 252 (DSCP times 4; the two ECN bits are 0)',
  );
}

/**
 * Parses `MIN-MAX`: a range with enough ports for the source-port pool, or a single port, which
 * `check.ts` compares with the listening port.
 */
export function parseSourcePorts(text: string): { min: number; max: number } {
  const [, first, last] = /^(\d{1,5})-(\d{1,5})$/.exec(text) ?? [];
  const min = Number(first);
  const max = Number(last);
  const isEnough = max === min || max - min + 1 >= SOURCE_PORTS_MIN;
  if (min >= 1 && max <= 65535 && isEnough) return { min, max };
  throw new ValueError(
    `must be MIN-MAX within 1-65535, at least ${SOURCE_PORTS_MIN} ports wide, or P-P with the listening port P`,
  );
}

/** Parses a packet mark (SO_MARK, socket(7)), decimal or hexadecimal; 0 means no mark. */
export function parseMark(text: string): number {
  const value = /^([1-9]\d{0,9}|0x[\da-f]{1,8})$/i.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= MARK_MAX) return value;
  throw new ValueError('must be a number from 1 to 4294967295, or from 0x1 to 0xffffffff');
}

/** Parses an interface name as Linux allows it (dev_valid_name), without a pattern (`tap%d`). */
export function parseInterfaceName(text: string): string {
  const bytes = Buffer.byteLength(text);
  const valid =
    bytes >= 1 && bytes <= INTERFACE_NAME_MAX && !/[\s/:%]/.test(text) && text !== '.' && text !== '..';
  if (valid) return text;
  throw new ValueError('must be an interface name: 1 to 15 bytes, no space, "/", ":" or "%"');
}

/** Parses a unicast MAC address. @returns canonical text: lower case, with colons */
export function parseDeviceMac(text: string): string {
  const mac = parseMac(text);
  if (mac !== undefined && !isMulticastMac(mac.high) && (mac.high !== 0 || mac.low !== 0)) {
    return formatMac(mac.high, mac.low);
  }
  throw new ValueError('must be a unicast MAC address such as 02:00:5e:10:00:01, not multicast or zero');
}

/** Parses an interface address. @returns canonical `ADDRESS/LENGTH`; host bits are kept */
export function parseInterfaceAddress(text: string): string {
  const cidr = parseCidr(text);
  if (cidr !== undefined && !isMulticastAddress(cidr.address) && !isUnspecified(cidr.address)) {
    return `${cidr.address.text}/${cidr.length}`;
  }
  throw new ValueError('must be ADDRESS/LENGTH such as 10.10.10.1/24 or 2001:db8::1/64');
}

/** Parses a unicast address, valid as source and as destination. */
export function parseUnicastAddress(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new ValueError('must be an IPv4 or IPv6 address');
  if (isMulticastAddress(address)) throw new ValueError('must be a unicast address, not a multicast group');
  if (isUnspecified(address)) throw new ValueError('must be a unicast address, not the unspecified address');
  if (address.text === '255.255.255.255')
    throw new ValueError('must be a unicast address, not the broadcast address');
  if (isLinkLocal(address) && address.scope === '') {
    throw new ValueError(`is link-local and needs its interface: ${address.text}%IF`);
  }
  return address;
}

/** `HOST:PORT`, with brackets around an IPv6 address. */
const ENDPOINT = /^(?:\[([^\]]+)\]|([^:[\]\s]+)):(\d{1,5})$/;

function isPort(digits: string): boolean {
  return Number(digits) >= 1 && Number(digits) <= 65535;
}

/** Parses `HOST:PORT` or `unix:PATH` for an API client; the host may be a name. */
export function parseApiEndpoint(text: string): Exclude<ApiListen, { kind: 'off' }> {
  if (text.startsWith('unix:')) return { kind: 'unix', path: parseSocketPath(text.slice('unix:'.length)) };
  const [, bracketed, plain, port] = ENDPOINT.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || !isPort(port)) {
    throw new ValueError('must be HOST:PORT, [IPV6]:PORT or unix:PATH');
  }
  return { kind: 'tcp', host, port: Number(port) };
}

/**
 * Parses the listen address of the API. `check.ts` requires a token for addresses other than
 * loopback.
 */
export function parseApiListen(text: string): ApiListen {
  if (text === 'off') return { kind: 'off' };
  const endpoint = parseApiEndpoint(text);
  if (endpoint.kind === 'unix') return endpoint;
  return { ...endpoint, host: listenHost(endpoint.host, 'must be an address and port, unix:PATH or "off"') };
}

/**
 * Parses the listen address of the metrics. All addresses are allowed, because scrapers are
 * usually remote.
 */
export function parseMetricsListen(text: string): { host: string; port: number } {
  const allowed = 'must be an address and port, such as 127.0.0.1:9789 or [::]:9789';
  const [, bracketed, plain, port] = ENDPOINT.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || !isPort(port)) throw new ValueError(allowed);
  return { host: listenHost(host, allowed), port: Number(port) };
}

/** @param allowed message of the ValueError @returns canonical text of an address to listen on */
function listenHost(host: string, allowed: string): string {
  if (host === 'localhost') return '127.0.0.1';
  const address = parseIpAddress(host);
  if (address === undefined || isMulticastAddress(address)) throw new ValueError(allowed);
  return address.text;
}

/** Returns true for 127.0.0.0/8 and ::1. @param host canonical text of an address */
export function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1';
}

/** Parses the path of a file. */
export function parseFilePath(text: string): string {
  if (text !== '' && !text.includes('\0') && !text.endsWith('/')) return text;
  throw new ValueError('must be the path of a file');
}

/** Parses the path of a file, or "off". @returns the path; '' for "off" */
export function parseFileOrOff(text: string): string {
  if (text === 'off') return '';
  try {
    return parseFilePath(text);
  } catch {
    throw new ValueError('must be the path of a file, or "off"');
  }
}

function parseSocketPath(path: string): string {
  const bytes = Buffer.byteLength(path);
  if (bytes >= 1 && bytes <= UNIX_PATH_MAX && !path.includes('\0')) return path;
  throw new ValueError(`must be unix:PATH with a path of 1 to ${UNIX_PATH_MAX} bytes`);
}
