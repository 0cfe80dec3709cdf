/**
 * The one table of settings: name, scope, default, meaning and parser of each. Command line, YAML file and help
 * text are made from it, so a setting that is not here does not exist anywhere.
 *
 * A setting's key is its YAML key; its flag is the same word with hyphens (`fdbLimit`, `--fdb-limit`). VNIs and
 * peers are no settings but what settings apply to: `source.ts` has them.
 */
import {
  oneOf,
  parseApiListen,
  parseDeviceMac,
  parseFileOrOff,
  parseFilePath,
  parseInterfaceAddress,
  parseInterfaceName,
  parseMetricsListen,
  parseMtu,
  parsePort,
  parseSourcePorts,
  parseSwitch,
  parseTos,
  parseUnicastAddress,
  wholeNumber,
} from './values.js';

export interface Setting<T> {
  /** `daemon`: one value for all. `vni`: each VNI may have its own. */
  readonly scope: 'daemon' | 'vni';
  /** May be given several times: a repeated flag, a YAML list. */
  readonly repeatable: boolean;
  /** How help names the value. */
  readonly argument: string;
  /** The default as text that `parse` takes; '' when there is none or the machine decides. */
  readonly standard: string;
  /** What help says of the default when `standard` cannot. */
  readonly standardHelp?: string;
  readonly help: string;
  /** @throws ValueError */
  readonly parse: (text: string) => T;
}

/** Most seconds an FDB entry may stay unrefreshed: 11 days; its milliseconds stay within 32 bits. */
const AGEING_MAX = 1_000_000;
const FDB_LIMIT_MAX = 1 << 24;
const WORKERS_MAX = 16;

export const SETTINGS = {
  local: daemonList({
    argument: 'ADDR',
    standardHelp: 'per peer, from the route',
    help: 'outer source address, once a family; also what the receiving socket binds to',
    parse: parseUnicastAddress,
  }),
  underlayDev: daemon({
    argument: 'IF',
    help: 'bind the underlay sockets to this device',
    parse: parseInterfaceName,
  }),
  port: daemon({
    argument: 'P',
    standard: '4789',
    help: 'UDP port listened on and sent to',
    parse: parsePort,
  }),
  sourcePorts: daemon({
    argument: 'MIN-MAX',
    standard: '49152-65535',
    help: 'range of outer source ports for flow entropy (RFC 7348 section 5), at least 64 wide',
    parse: parseSourcePorts,
  }),
  tap: vni({
    argument: 'NAME',
    standardHelp: 'vtep<VNI>',
    help: 'overlay device; an existing TAP is adopted with its MAC and left there at exit',
    parse: parseInterfaceName,
  }),
  bridge: vni({
    argument: 'NAME',
    help: 'put the TAP into this bridge; made if missing, removed at exit if ours and empty',
    parse: parseInterfaceName,
  }),
  address: vniList({ argument: 'CIDR', help: 'give the TAP this address', parse: parseInterfaceAddress }),
  mac: vni({
    argument: 'MAC',
    standardHelp: 'derived from machine, underlay address and VNI',
    help: 'MAC address of the TAP',
    parse: parseDeviceMac,
  }),
  mtu: vni({
    argument: 'auto|N',
    standard: 'auto',
    help: 'overlay MTU; auto: path MTU minus 50 (IPv4) or 70 (IPv6), the smallest of the peers',
    parse: parseMtu,
  }),
  df: daemon({
    argument: 'set|unset|inherit',
    standard: 'set',
    help: 'DF of the outer header; unset: the kernel may fragment; inherit: as the inner IPv4 header, IPv6 counts as set',
    parse: oneOf('set', 'unset', 'inherit'),
  }),
  ttl: daemon({
    argument: 'N',
    standard: '64',
    help: 'TTL or hop limit of the outer header',
    parse: wholeNumber(1, 255),
  }),
  tos: daemon({
    argument: 'inherit|N',
    standard: 'inherit',
    help: 'TOS of the outer header, DSCP in its upper six bits; ECN is always that of the inner packet (RFC 6040)',
    parse: parseTos,
  }),
  mssClamp: daemon({
    argument: 'auto|off',
    standard: 'auto',
    help: 'auto: lower the MSS of overlay SYNs to what the path carries',
    parse: oneOf('auto', 'off'),
  }),
  udpChecksum: daemon({
    argument: 'on|off',
    standard: 'on',
    help: 'outer UDP checksum sent; zero is always accepted',
    parse: parseSwitch,
  }),
  flowOffload: daemon({
    argument: 'on|off',
    standard: 'off',
    help: 'on: the kernel passes TCP flows between known MACs by itself, where the underlay takes superframes whole',
    parse: parseSwitch,
  }),
  learning: vni({
    argument: 'on|off',
    standard: 'on',
    help: 'learn MACs from received frames',
    parse: parseSwitch,
  }),
  ageing: vni({
    argument: 'S',
    standard: '300',
    help: 'seconds until a learned MAC that is not heard again is forgotten; 0: never',
    parse: wholeNumber(0, AGEING_MAX),
  }),
  fdbLimit: vni({
    argument: 'N',
    standard: '65536',
    help: 'most learned MACs of a VNI, and beside them as many static entries',
    parse: wholeNumber(1, FDB_LIMIT_MAX),
  }),
  flood: vni({
    argument: 'on|off',
    standard: 'on',
    help: 'off: unknown unicast is dropped; broadcast and multicast still go to peers without flood=off',
    parse: parseSwitch,
  }),
  accept: vni({
    argument: 'peers|any',
    standard: 'peers',
    help: 'whose VXLAN is taken: configured peers only, or any source',
    parse: oneOf('peers', 'any'),
  }),
  vlan: vni({
    argument: 'pass|strip|drop',
    standard: 'pass',
    help: 'inner 802.1Q tags on decapsulation',
    parse: oneOf('pass', 'strip', 'drop'),
  }),
  strictHeader: daemon({
    argument: 'on|off',
    standard: 'off',
    help: 'on: drop a datagram with reserved bits set; off: ignore and count them (RFC 7348)',
    parse: parseSwitch,
  }),
  api: daemon({
    argument: 'HOST:PORT|unix:PATH|off',
    standard: '127.0.0.1:8789',
    help: 'control API, metrics included; beyond loopback and unix sockets it needs --api-token-file',
    parse: parseApiListen,
  }),
  apiTokenFile: daemon({
    argument: 'FILE',
    help: 'file with the bearer token that callers of the API must show',
    parse: parseFilePath,
  }),
  metrics: daemon({
    argument: 'HOST:PORT',
    help: 'a second listener, with /metrics and health alone',
    parse: parseMetricsListen,
  }),
  state: daemon({
    argument: 'FILE|off',
    standard: '/var/lib/vtepd/state.json',
    help: 'what the API changed, kept across restarts',
    parse: parseFileOrOff,
  }),
  io: daemon({
    argument: 'auto|batch|dgram',
    standard: 'auto',
    help: 'underlay engine: batched sockets of the native shim, or plain node:dgram',
    parse: oneOf('auto', 'batch', 'dgram'),
  }),
  workers: daemon({
    argument: 'N',
    standard: '1',
    help: 'data-plane threads; flows are spread over them, each stays on one',
    parse: wholeNumber(1, WORKERS_MAX),
  }),
  logLevel: daemon({
    argument: 'LEVEL',
    standard: 'info',
    help: 'fatal, error, warn, info, debug or trace',
    parse: oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace'),
  }),
  logFormat: daemon({
    argument: 'json|pretty',
    standardHelp: 'pretty on a terminal, else json',
    help: 'form of the log on stderr',
    parse: oneOf('json', 'pretty'),
  }),
};

export type Key = keyof typeof SETTINGS;
export type ValueOf<K extends Key> = ReturnType<(typeof SETTINGS)[K]['parse']>;

export const KEYS = Object.keys(SETTINGS) as Key[];
export const VNI_KEYS = KEYS.filter((key) => SETTINGS[key].scope === 'vni');

/** `fdbLimit` → `--fdb-limit`. */
export function flagOf(key: Key): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

type Row<T> = Pick<Setting<T>, 'argument' | 'help' | 'parse'> & { standard?: string; standardHelp?: string };

function daemon<T>(row: Row<T>): Setting<T> {
  return { standard: '', ...row, scope: 'daemon', repeatable: false };
}

function daemonList<T>(row: Row<T>): Setting<T> {
  return { ...daemon(row), repeatable: true };
}

function vni<T>(row: Row<T>): Setting<T> {
  return { ...daemon(row), scope: 'vni' };
}

function vniList<T>(row: Row<T>): Setting<T> {
  return { ...vni(row), repeatable: true };
}
