/**
 * Parser for a peer: `ADDR[,vni=ID][,port=P][,flood=on|off][,all=on|off]`.
 *
 * The command line and the file use this form. The control API has `port`, `flood` and `all` as
 * separate fields, with the same rules for the host.
 */
import { parseIpAddress } from '../wire/ip-address.js';
import { ValueError } from './config-error.js';
import { suggestion } from './nearest.js';
import type { PeerSettings } from './settings.js';
import { parsePort, parseSwitch, parseUnicastAddress, parseVni } from './values.js';

/** A peer as given; undefined fields were omitted. */
export interface PeerText {
  /** Canonical address, or a DNS name in lower case. */
  readonly host: string;
  readonly port: number | undefined;
  readonly flood: boolean | undefined;
  /** True: the name stands for many hosts, and each of its addresses is a peer. */
  readonly all: boolean | undefined;
  /** VNI given by `vni=`; undefined: the peer belongs to every VNI that its list applies to. */
  readonly vni: number | undefined;
}

const OPTIONS = ['vni', 'port', 'flood', 'all'];

/** Label of a host name (RFC 1123 §2.1); underscores are also allowed. */
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** Maximum length of a DNS name as text, in bytes; on the wire it is 255 (RFC 1035 §2.3.4). */
const NAME_MAX = 253;

/** @throws ValueError that names the option, its value and the allowed values */
export function parsePeer(text: string): PeerText {
  const [host, ...rest] = text.split(',');
  const options = new Map<string, string>();
  for (const part of rest) {
    const equals = part.indexOf('=');
    const name = part.slice(0, Math.max(equals, 0));
    if (equals < 0)
      throw new ValueError(
        `must be ADDR[,vni=ID][,port=P][,flood=on|off][,all=on|off]; "${part}" has no "="`,
      );
    if (options.has(name)) throw new ValueError(`has ${name}= twice`);
    options.set(name, part.slice(equals + 1));
  }
  return makePeer(host, options);
}

/**
 * @param options texts of vni, port, flood and all, each optional
 * @throws ValueError for a host or option that is not allowed
 */
export function makePeer(host: string, options: ReadonlyMap<string, string>): PeerText {
  for (const name of options.keys()) {
    if (OPTIONS.includes(name)) continue;
    throw new ValueError(
      `has an unknown option "${name}" (allowed: ${OPTIONS.join(', ')})${suggestion(name, OPTIONS)}`,
    );
  }
  const peer = {
    host: parsePeerHost(host),
    port: option(options, 'port', parsePort),
    flood: option(options, 'flood', parseSwitch),
    all: option(options, 'all', parseSwitch),
    vni: option(options, 'vni', parseVni),
  };
  if (peer.all && parseIpAddress(peer.host) !== undefined)
    throw new ValueError('has all=on, which is for a DNS name that stands for many hosts: omit it');
  return peer;
}

/** Returns the settings of a peer, with the defaults of omitted options. */
export function peerSettings({ host, port, flood, all }: PeerText, defaultPort: number): PeerSettings {
  return { host, port: port ?? defaultPort, flood: flood ?? true, ...(all && { all }) };
}

/** @returns canonical text of a unicast address, or a DNS name in lower case @throws ValueError */
export function parsePeerHost(text: string): string {
  if (parseIpAddress(text) !== undefined) return parseUnicastAddress(text).text;
  const name = text.toLowerCase().replace(/\.$/, '');
  const labels = name.split('.');
  // A name whose last label is a number is a mistyped address: 192.0.2.300, 1.2.3.
  const valid = labels.every((label) => LABEL.test(label)) && !/^\d+$/.test(labels.at(-1)!);
  if (valid && name.length <= NAME_MAX) return name;
  throw new ValueError('must be an IPv4 address, an IPv6 address (with %IF if link-local) or a DNS name');
}

function option<T>(
  options: ReadonlyMap<string, string>,
  name: string,
  parse: (text: string) => T,
): T | undefined {
  const text = options.get(name);
  if (text === undefined) return undefined;
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof ValueError) throw new ValueError(`${name}=${text} ${error.message}`);
    throw error;
  }
}
