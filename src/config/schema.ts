/**
 * The one table of settings: name, scope, default, meaning and parser of each. Command line, YAML file, help text, the
 * types `Settings` and `VtepOptions` and the merge are made from it: a new setting is a row here, and its use.
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

/** `program`: of vtepd, not of the library. `vtep`: one value for all VNIs. `vni`: each VNI may have its own. */
export type Scope = 'program' | 'vtep' | 'vni';

/**
 * A row of the table.
 *
 * T: the parsed value. N: the value where nothing is given and there is no `standard`. F: name in `Settings`, where it is
 * not the key.
 */
export interface Setting<T, N, F> {
  readonly scope: Scope;
  /** May be given several times: a repeated flag, a YAML list. */
  readonly repeatable: boolean;
  /** How help names the value. */
  readonly argument: string;
  /** The default as text that `parse` takes; '' when there is none or the machine decides. */
  readonly standard: string;
  /** What help says of the default when `standard` cannot. */
  readonly standardHelp?: string;
  readonly absent?: N;
  readonly field?: F;
  readonly help: string;
  /** @throws ValueError */
  readonly parse: (text: string) => T;
}

/** Most seconds an FDB entry may stay unrefreshed: 11 days; its milliseconds stay within 32 bits. */
const AGEING_MAX = 1_000_000;
const FDB_LIMIT_MAX = 1 << 24;
const WORKERS_MAX = 16;

export const SETTINGS = {
  local: vtepList({
    argument: 'ADDR',
    standardHelp: 'per peer, from the route',
    help: 'outer source address, once a family; also what the receiving socket binds to',
    parse: parseUnicastAddress,
  }),
  underlayDev: vtep({
    argument: 'IF',
    absent: '',
    help: 'bind the underlay sockets to this device',
    parse: parseInterfaceName,
  }),
  port: vtep({
    argument: 'P',
    standard: '4789',
    help: 'UDP port listened on and sent to',
    parse: parsePort,
  }),
  sourcePorts: vtep({
    argument: 'MIN-MAX',
    standard: '49152-65535',
    help: 'range of outer source ports for flow entropy (RFC 7348 section 5), at least 64 wide',
    parse: parseSourcePorts,
  }),
  tap: vni({
    argument: 'NAME',
    absent: '',
    standardHelp: 'vtep<VNI>',
    help: 'overlay device; an existing TAP is adopted with its MAC and left there at exit',
    parse: parseInterfaceName,
  }),
  bridge: vni({
    argument: 'NAME',
    absent: '',
    help: 'put the TAP into this bridge; made if missing, removed at exit if ours and empty',
    parse: parseInterfaceName,
  }),
  address: vniList({
    argument: 'CIDR',
    field: 'addresses',
    help: 'give the TAP this address',
    parse: parseInterfaceAddress,
  }),
  mac: vni({
    argument: 'MAC',
    absent: '',
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
  df: vtep({
    argument: 'set|unset|inherit',
    standard: 'set',
    help: 'DF of the outer header; unset: the kernel may fragment; inherit: as the inner IPv4 header, IPv6 counts as set',
    parse: oneOf('set', 'unset', 'inherit'),
  }),
  ttl: vtep({
    argument: 'N',
    standard: '64',
    help: 'TTL or hop limit of the outer header',
    parse: wholeNumber(1, 255),
  }),
  tos: vtep({
    argument: 'inherit|N',
    standard: 'inherit',
    help: 'TOS of the outer header, DSCP in its upper six bits; ECN is always that of the inner packet (RFC 6040)',
    parse: parseTos,
  }),
  mssClamp: vtep({
    argument: 'auto|off',
    standard: 'auto',
    help: 'auto: lower the MSS of overlay SYNs to what the path carries',
    parse: oneOf('auto', 'off'),
  }),
  udpChecksum: vtep({
    argument: 'on|off',
    standard: 'on',
    help: 'outer UDP checksum sent; zero is always accepted',
    parse: parseSwitch,
  }),
  flowOffload: vtep({
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
    field: 'ageingS',
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
  strictHeader: vtep({
    argument: 'on|off',
    standard: 'off',
    help: 'on: drop a datagram with reserved bits set; off: ignore and count them (RFC 7348)',
    parse: parseSwitch,
  }),
  api: program({
    argument: 'HOST:PORT|unix:PATH|off',
    standard: '127.0.0.1:8789',
    help: 'control API, metrics included; beyond loopback and unix sockets it needs --api-token-file',
    parse: parseApiListen,
  }),
  apiTokenFile: program({
    argument: 'FILE',
    absent: '',
    help: 'file with the bearer token that callers of the API must show',
    parse: parseFilePath,
  }),
  metrics: program({
    argument: 'HOST:PORT',
    absent: undefined,
    help: 'a second listener, with /metrics and health alone',
    parse: parseMetricsListen,
  }),
  state: program({
    argument: 'FILE|off',
    standard: '/var/lib/vtepd/state.json',
    help: 'what the API changed, kept across restarts',
    parse: parseFileOrOff,
  }),
  io: vtep({
    argument: 'auto|batch|dgram',
    standard: 'auto',
    help: 'underlay engine: batched sockets of the native shim, or plain node:dgram',
    parse: oneOf('auto', 'batch', 'dgram'),
  }),
  workers: vtep({
    argument: 'N',
    standard: '1',
    help: 'data-plane threads; flows are spread over them, each stays on one',
    parse: wholeNumber(1, WORKERS_MAX),
  }),
  logLevel: program({
    argument: 'LEVEL',
    standard: 'info',
    help: 'fatal, error, warn, info, debug or trace',
    parse: oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace'),
  }),
  logFormat: program({
    argument: 'json|pretty',
    absent: 'json',
    standardHelp: 'pretty on a terminal, else json',
    help: 'form of the log on stderr',
    parse: oneOf('json', 'pretty'),
  }),
};

type Table = typeof SETTINGS;
export type Key = keyof Table;
export type ValueOf<K extends Key> = ReturnType<Table[K]['parse']>;

type NoneOf<K extends Key> = Table[K] extends Setting<unknown, infer N, unknown> ? N : never;
/** Name of a setting in `Settings` or `VniSettings`. */
type FieldOf<K extends Key> =
  Table[K] extends Setting<unknown, unknown, infer F extends string> ? ([F] extends [never] ? K : F) : never;
type KeyOf<S extends Scope> = { [K in Key]: Table[K]['scope'] extends S ? K : never }[Key];

/** Parsed values of all settings of a scope, by the names of their fields. */
export type FieldsOf<S extends Scope> = {
  readonly [K in KeyOf<S> as FieldOf<K>]: Table[K]['repeatable'] extends true
    ? readonly ValueOf<K>[]
    : ValueOf<K> | NoneOf<K>;
};

/** Words of all settings of a scope, as the YAML file and the options of the library have them. */
export type WordsOf<S extends Scope> = {
  readonly [K in KeyOf<S>]?:
    | (Table[K]['repeatable'] extends true
        ? WordOf<ValueOf<K>> | readonly WordOf<ValueOf<K>>[]
        : WordOf<ValueOf<K>>)
    | undefined;
};

export type Switch = boolean | 'on' | 'off';
type WordOf<T> = [T] extends [boolean] ? Switch : T extends number | string ? T : string;

export const KEYS = Object.keys(SETTINGS) as Key[];
export const VNI_KEYS = keysOf('vni');
/** Settings that only the program has, not the library. */
export const PROGRAM_KEYS = keysOf('program');
/** Settings with one value for all VNIs. */
export const COMMON_KEYS = [...keysOf('vtep'), ...PROGRAM_KEYS];

function keysOf(scope: Scope): Key[] {
  return KEYS.filter((key) => SETTINGS[key].scope === scope);
}

/** Key of the file → field of the settings. */
export function fieldOf(key: Key): string {
  const { field }: { field?: string } = SETTINGS[key];
  return field ?? key;
}

/** @returns the value where nothing is given; of a repeatable setting an empty list */
export function standardOf(key: Key): unknown {
  const { standard, absent, parse, repeatable }: Setting<unknown, unknown, unknown> = SETTINGS[key];
  if (repeatable) return [];
  return standard === '' ? absent : parse(standard);
}

/** `fdbLimit` → `--fdb-limit`. */
export function flagOf(key: Key): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

type Row<T, N, F> = Pick<Setting<T, N, F>, 'argument' | 'help' | 'parse' | 'absent' | 'field'> & {
  standard?: string;
  standardHelp?: string;
};
type Made<T, N, F, S extends Scope, L extends boolean> = Setting<T, N, F> & {
  readonly scope: S;
  readonly repeatable: L;
};

function program<T, const N = never, const F = never>(row: Row<T, N, F>): Made<T, N, F, 'program', false> {
  return { standard: '', ...row, scope: 'program', repeatable: false };
}

function vtep<T, const N = never, const F = never>(row: Row<T, N, F>): Made<T, N, F, 'vtep', false> {
  return { standard: '', ...row, scope: 'vtep', repeatable: false };
}

function vtepList<T, const N = never, const F = never>(row: Row<T, N, F>): Made<T, N, F, 'vtep', true> {
  return { standard: '', ...row, scope: 'vtep', repeatable: true };
}

function vni<T, const N = never, const F = never>(row: Row<T, N, F>): Made<T, N, F, 'vni', false> {
  return { standard: '', ...row, scope: 'vni', repeatable: false };
}

function vniList<T, const N = never, const F = never>(row: Row<T, N, F>): Made<T, N, F, 'vni', true> {
  return { standard: '', ...row, scope: 'vni', repeatable: true };
}
