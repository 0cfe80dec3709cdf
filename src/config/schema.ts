/**
 * Table of all settings: name, scope, default, help text and parser.
 *
 * The command line, the YAML file, the help texts, the man page, the API schemas, the types
 * `Settings` and `VtepOptions`, and the merge are derived from it. To add a setting, add a row
 * here.
 *
 * A setting's key is its YAML key; its flag is the same word with hyphens (`fdbLimit`,
 * `--fdb-limit`). VNIs and peers are not settings; see `source.ts`.
 */
import {
  oneOf,
  parseApiListen,
  parseDeviceMac,
  parseFileOrOff,
  parseFilePath,
  parseInterfaceAddress,
  parseInterfaceName,
  parseMark,
  parseMetricsListen,
  parseMtu,
  parsePort,
  parseSourcePorts,
  parseSwitch,
  parseTos,
  parseUnicastAddress,
  wholeNumber,
} from './values.js';

/**
 * `program`: a setting of vtepd, not of the library. `vtep`: one value for all VNIs. `vni`: each
 * VNI may have its own value.
 */
export type Scope = 'program' | 'vtep' | 'vni';

/**
 * A row of the table.
 *
 * T: type of the parsed value. N: type of `absent`. F: type of `field`.
 */
export interface Setting<T, N, F> {
  readonly scope: Scope;
  /** True if several values are allowed: a repeated flag, a YAML list. */
  readonly repeatable: boolean;
  /** Placeholder of the value in help texts. */
  readonly argument: string;
  /** Default as input of `parse`; '' if there is none or if it is computed at run time. */
  readonly defaultText: string;
  /** Description of the default in help texts, for a default that is computed at run time. */
  readonly defaultHelp?: string;
  /** Value if nothing is given and `defaultText` is ''. */
  readonly absent?: N;
  /** Name in `Settings` if it differs from the key. */
  readonly field?: F;
  readonly help: string;
  /** @throws ValueError */
  readonly parse: (text: string) => T;
}

/** Maximum ageing time in seconds (11 days); in milliseconds it fits into 32 bits. */
const AGEING_MAX = 1_000_000;
const FDB_LIMIT_MAX = 1 << 24;
const WORKERS_MAX = 16;

export const SETTINGS = {
  local: vtepList({
    argument: 'ADDR',
    defaultHelp: 'per peer, from the route',
    help: 'outer source address, one per address family; the receiving socket binds to it',
    parse: parseUnicastAddress,
  }),
  underlayDev: vtep({
    argument: 'IF',
    absent: '',
    help: 'bind the underlay sockets to this device',
    parse: parseInterfaceName,
  }),
  fwmark: vtep({
    argument: 'N',
    absent: 0,
    help: 'mark (SO_MARK) of every underlay packet, for policy routing: 1 to 4294967295, or hexadecimal 0x1 to 0xffffffff',
    parse: parseMark,
  }),
  port: vtep({
    argument: 'P',
    defaultText: '4789',
    help: 'UDP port to listen on, and destination port of peers without port=',
    parse: parsePort,
  }),
  sourcePorts: vtep({
    argument: 'MIN-MAX',
    defaultText: '49152-65535',
    help: 'range of outer UDP source ports for flow entropy (RFC 7348 section 5), at least 64 ports; or the listening port alone, as P-P',
    parse: parseSourcePorts,
  }),
  tap: vni({
    argument: 'NAME',
    absent: '',
    defaultHelp: 'vtep<VNI>',
    help: 'TAP device of the overlay; an existing TAP is used with its MAC and is not removed at exit',
    parse: parseInterfaceName,
  }),
  bridge: vni({
    argument: 'NAME',
    absent: '',
    help: 'attach the TAP to this bridge; a missing bridge is created, and removed at exit if it has no other port',
    parse: parseInterfaceName,
  }),
  address: vniList({
    argument: 'CIDR',
    field: 'addresses',
    help: 'IP address and prefix length of this host in the overlay, on the bridge if there is one, else on the TAP',
    parse: parseInterfaceAddress,
  }),
  mac: vni({
    argument: 'MAC',
    absent: '',
    defaultHelp:
      'made once and kept in the state file; without one derived from machine, underlay address and VNI',
    help: 'MAC address of the TAP',
    parse: parseDeviceMac,
  }),
  mtu: vni({
    argument: 'auto|N',
    defaultText: 'auto',
    help: 'overlay MTU in bytes, 68 to 65535; auto: smallest path MTU of the peers, less 50 (IPv4) or 70 (IPv6)',
    parse: parseMtu,
  }),
  df: vtep({
    argument: 'set|unset|inherit',
    defaultText: 'set',
    help: 'DF of the outer header; unset: the kernel may fragment; inherit: copy DF of the inner IPv4 header (IPv6: set)',
    parse: oneOf('set', 'unset', 'inherit'),
  }),
  ttl: vtep({
    argument: 'N',
    defaultText: '64',
    help: 'TTL or hop limit of the outer header, 1 to 255',
    parse: wholeNumber(1, 255),
  }),
  tos: vtep({
    argument: 'inherit|N',
    defaultText: 'inherit',
    help: 'TOS of the outer header, a multiple of 4 (DSCP times 4), or that of the inner packet; ECN is always copied from the inner packet (RFC 6040)',
    parse: parseTos,
  }),
  mssClamp: vtep({
    argument: 'auto|off',
    defaultText: 'auto',
    help: 'auto: lower the MSS in TCP SYNs of the overlay to fit the path MTU',
    parse: oneOf('auto', 'off'),
  }),
  udpChecksum: vtep({
    argument: 'on|off',
    defaultText: 'on',
    help: 'send outer UDP checksums; datagrams without checksum (zero) are always accepted',
    parse: parseSwitch,
  }),
  kernelPath: vtep({
    argument: 'auto|on|off',
    defaultText: 'auto',
    help: "shortcuts of TCP around the host's stack (UDP_TUNNEL_GSO, TCX_FLOWS); auto: while no rule of the host would apply to the packets; on: whatever the rules are; off: never",
    parse: oneOf('auto', 'on', 'off'),
  }),
  flowOffload: vtep({
    argument: 'on|off',
    absent: undefined,
    help: 'deprecated: on means --kernel-path on, off means nothing; --kernel-path wins',
    parse: parseSwitch,
  }),
  learning: vni({
    argument: 'on|off',
    defaultText: 'on',
    help: 'learn MAC addresses from received frames',
    parse: parseSwitch,
  }),
  ageing: vni({
    argument: 'S',
    field: 'ageingS',
    defaultText: '300',
    help: 'seconds until a learned MAC expires if no frame from it is received; 0: never',
    parse: wholeNumber(0, AGEING_MAX),
  }),
  fdbLimit: vni({
    argument: 'N',
    defaultText: '65536',
    help: 'maximum number of learned MACs per VNI; static entries have a separate limit of the same size',
    parse: wholeNumber(1, FDB_LIMIT_MAX),
  }),
  flood: vni({
    argument: 'on|off',
    defaultText: 'on',
    help: 'off: drop unknown unicast; broadcast and multicast still go to all peers without flood=off',
    parse: parseSwitch,
  }),
  accept: vni({
    argument: 'peers|any',
    defaultText: 'peers',
    help: 'sources whose VXLAN datagrams are accepted: configured peers only, or any',
    parse: oneOf('peers', 'any'),
  }),
  vlan: vni({
    argument: 'pass|strip|drop',
    defaultText: 'pass',
    help: 'inner VLAN tags on decapsulation; pass: keep them; strip: remove all of them; drop: drop tagged frames',
    parse: oneOf('pass', 'strip', 'drop'),
  }),
  strictHeader: vtep({
    argument: 'on|off',
    defaultText: 'off',
    help: 'on: drop datagrams with reserved VXLAN header bits set; off: ignore the bits (RFC 7348) and count the datagrams',
    parse: parseSwitch,
  }),
  api: program({
    argument: 'HOST:PORT|unix:PATH|off',
    defaultText: '127.0.0.1:8789',
    help: 'address of the control API and metrics; one that is neither loopback nor a unix socket needs --api-token-file',
    parse: parseApiListen,
  }),
  apiTokenFile: program({
    argument: 'FILE',
    absent: '',
    help: 'file with the bearer token that API clients must send',
    parse: parseFilePath,
  }),
  metrics: program({
    argument: 'HOST:PORT',
    absent: undefined,
    help: 'address of an additional listener that serves only /metrics, /healthz and /readyz',
    parse: parseMetricsListen,
  }),
  state: program({
    argument: 'FILE|off',
    defaultText: '/var/lib/vtepd/state.json',
    help: 'file that keeps the changes made through the API across restarts; off: do not keep them',
    parse: parseFileOrOff,
  }),
  io: vtep({
    argument: 'auto|batch|dgram',
    defaultText: 'auto',
    help: 'underlay sockets; auto and batch: batched system calls of the native shim; dgram: node:dgram',
    parse: oneOf('auto', 'batch', 'dgram'),
  }),
  workers: vtep({
    argument: 'N',
    defaultText: '1',
    help: 'number of data-plane threads, 1 to 16; each flow stays on one thread',
    parse: wholeNumber(1, WORKERS_MAX),
  }),
  logLevel: program({
    argument: 'LEVEL',
    defaultText: 'info',
    help: 'least severe level that is logged: fatal, error, warn, info, debug or trace',
    parse: oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace'),
  }),
  logFormat: program({
    argument: 'json|pretty',
    absent: 'json',
    defaultHelp: 'pretty on a terminal, else json',
    help: 'format of the log on stderr',
    parse: oneOf('json', 'pretty'),
  }),
};

type Table = typeof SETTINGS;
export type Key = keyof Table;
export type ValueOf<K extends Key> = ReturnType<Table[K]['parse']>;

type NoneOf<K extends Key> = Table[K] extends Setting<unknown, infer N, unknown> ? N : never;
/** Field name of a setting in `Settings` or `VniSettings`. */
type FieldOf<K extends Key> =
  Table[K] extends Setting<unknown, unknown, infer F extends string> ? ([F] extends [never] ? K : F) : never;
type KeyOf<S extends Scope> = { [K in Key]: Table[K]['scope'] extends S ? K : never }[Key];

/** Parsed values of all settings of a scope, by field name. */
export type FieldsOf<S extends Scope> = {
  readonly [K in KeyOf<S> as FieldOf<K>]: Table[K]['repeatable'] extends true
    ? readonly ValueOf<K>[]
    : ValueOf<K> | NoneOf<K>;
};

/**
 * Unparsed values of all settings of a scope, as in the YAML file and the options of the library.
 */
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
/** Settings of vtepd that the library does not have. */
export const PROGRAM_KEYS = keysOf('program');
/** Settings with one value for all VNIs. */
export const COMMON_KEYS = [...keysOf('vtep'), ...PROGRAM_KEYS];

function keysOf(scope: Scope): Key[] {
  return KEYS.filter((key) => SETTINGS[key].scope === scope);
}

/** Returns the field name in `Settings` of a YAML key. */
export function fieldOf(key: Key): string {
  const { field }: { field?: string } = SETTINGS[key];
  return field ?? key;
}

/** @returns the default value; an empty list for a repeatable setting */
export function defaultOf(key: Key): unknown {
  const { defaultText, absent, parse, repeatable }: Setting<unknown, unknown, unknown> = SETTINGS[key];
  if (repeatable) return [];
  return defaultText === '' ? absent : parse(defaultText);
}

/** Returns the flag of a key: `fdbLimit` → `--fdb-limit`. */
export function flagOf(key: Key): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

type Row<T, N, F> = Pick<Setting<T, N, F>, 'argument' | 'help' | 'parse' | 'absent' | 'field'> & {
  defaultText?: string;
  defaultHelp?: string;
};
type Made<T, N, F, S extends Scope, L extends boolean> = Setting<T, N, F> & {
  readonly scope: S;
  readonly repeatable: L;
};

function program<T, const N = never, const F = never>(row: Row<T, N, F>): Made<T, N, F, 'program', false> {
  return { defaultText: '', ...row, scope: 'program', repeatable: false };
}

function vtep<T, const N = never, const F = never>(row: Row<T, N, F>): Made<T, N, F, 'vtep', false> {
  return { defaultText: '', ...row, scope: 'vtep', repeatable: false };
}

function vtepList<T, const N = never, const F = never>(row: Row<T, N, F>): Made<T, N, F, 'vtep', true> {
  return { defaultText: '', ...row, scope: 'vtep', repeatable: true };
}

function vni<T, const N = never, const F = never>(row: Row<T, N, F>): Made<T, N, F, 'vni', false> {
  return { defaultText: '', ...row, scope: 'vni', repeatable: false };
}

function vniList<T, const N = never, const F = never>(row: Row<T, N, F>): Made<T, N, F, 'vni', true> {
  return { defaultText: '', ...row, scope: 'vni', repeatable: true };
}
