/**
 * A remote VTEP as people write it: `ADDR[,vni=ID][,port=P][,flood=on|off]` on the command line and in the file.
 * What a host may be is the same for the control API, which has port and flood in fields of their own.
 */
import { parseIpAddress } from '../wire/ip-address.js';
import { ValueError } from './config-error.js';
import { suggestion } from './nearest.js';
import { parsePort, parseSwitch, parseUnicastAddress, parseVni } from './values.js';

/** What was said about a peer; what is undefined was not said. */
export interface PeerText {
  /** Canonical address, or a DNS name in lower case. */
  readonly host: string;
  readonly port: number | undefined;
  readonly flood: boolean | undefined;
  /** The one VNI that it serves; undefined: every VNI that the peer is given for. */
  readonly vni: number | undefined;
}

const OPTIONS = ['vni', 'port', 'flood'];

/** RFC 1123 §2.1: labels of letters, digits and hyphens, 253 bytes in all. */
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const NAME_MAX = 253;

/** @throws ValueError that names the option, its value and what is allowed */
export function parsePeer(text: string): PeerText {
  const [host, ...rest] = text.split(',');
  const options = new Map<string, string>();
  for (const part of rest) {
    const equals = part.indexOf('=');
    const name = part.slice(0, Math.max(equals, 0));
    if (equals < 0) throw new ValueError(`must be ADDR[,vni=ID][,port=P][,flood=on|off]; "${part}" is not`);
    if (options.has(name)) throw new ValueError(`says ${name}= twice`);
    options.set(name, part.slice(equals + 1));
  }
  return makePeer(host, options);
}

/** @param options texts of vni, port and flood, each optional. @throws ValueError */
export function makePeer(host: string, options: ReadonlyMap<string, string>): PeerText {
  for (const name of options.keys()) {
    if (OPTIONS.includes(name)) continue;
    throw new ValueError(
      `has an unknown option "${name}", allowed are ${OPTIONS.join(', ')}${suggestion(name, OPTIONS)}`,
    );
  }
  return {
    host: parsePeerHost(host),
    port: option(options, 'port', parsePort),
    flood: option(options, 'flood', parseSwitch),
    vni: option(options, 'vni', parseVni),
  };
}

/** @returns the canonical text of a unicast address, or a DNS name in lower case. @throws ValueError */
export function parsePeerHost(text: string): string {
  if (parseIpAddress(text) !== undefined) return parseUnicastAddress(text).text;
  const name = text.toLowerCase().replace(/\.$/, '');
  const labels = name.split('.');
  // A name whose last label is a number is an address with a slip in it: 192.0.2.300, 1.2.3.
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
    if (error instanceof ValueError) throw new ValueError(`has ${name}=${text}, which ${error.message}`);
    throw error;
  }
}
