/**
 * Packets at a hook, described by the possible values of each field.
 *
 * One description stands for many packets: a condition that holds for all of them matches
 * certainly. Fields that are not described are unknown.
 */
import { ANY_TEXT, type Interval, type Intervals, point, points } from './intervals.js';

export interface Packet {
  /** Undefined: IPv4 or IPv6. */
  readonly family: 4 | 6 | undefined;
  /** Keys of addresses (operand.ts). */
  readonly source: Intervals;
  readonly destination: Intervals;
  readonly sourcePort: Intervals;
  readonly destinationPort: Intervals;
  /** Names; '' where the hook has no such device. */
  readonly inputDevice: Intervals;
  readonly outputDevice: Intervals;
  readonly mark: Intervals;
  /** Each name and number that nft has for the connection state. */
  readonly states: readonly (string | number)[];
  /** DIRECTION_… */
  readonly direction: Intervals;
  /** TYPE_…, of the source and destination address. */
  readonly sourceType: Intervals;
  readonly destinationType: Intervals;
}

export const IPPROTO_UDP = 17;

/** Types of addresses, as `fib` finds them. */
export const TYPE_LOCAL = 0;
export const TYPE_UNICAST = 1;
export const TYPE_MULTICAST = 2;
/** Broadcast, anycast, unreachable and other types. */
export const TYPE_OTHER = 3;

export const DIRECTION_ORIGINAL = 0;
export const DIRECTION_REPLY = 1;

/**
 * Connection states with their numbers (NF_CT_STATE_BIT of nf_tables.h). A packet that connection
 * tracking has not seen yet is 'invalid' (nft_ct_get_eval).
 */
export const STATES = {
  new: ['new', 8],
  established: ['established', 2],
  untracked: ['untracked', 64],
  invalid: ['invalid', 1],
} as const;

export const ANY_PORT: Intervals = [{ lo: 0, hi: 0xffff }];
export const ANY_MARK: Intervals = [{ lo: 0, hi: 0xffffffff }];
export const NO_DEVICE: Intervals = [point('')];

/** Every device but the loopback device, which no datagram of a peer passes. */
export const ANY_DEVICE: Intervals = [
  { lo: '\0', hi: 'ln\uffff' },
  { lo: 'lo\0', hi: '\uffff' },
];

const ANY_TYPE: Intervals = points([TYPE_LOCAL, TYPE_UNICAST, TYPE_MULTICAST, TYPE_OTHER]);

/** Types that the address of a peer can have: a peer is never an address of this host. */
export const PEER_TYPE: Intervals = points([TYPE_UNICAST, TYPE_MULTICAST, TYPE_OTHER]);

/** Firewalls treat a datagram that is not tracked as the first of a connection. */
const NEW_OR_UNTRACKED = [...STATES.new, ...STATES.untracked];

/** First datagrams of which only the destination port is known. */
export function anyDatagram(port: number): Packet {
  return {
    family: undefined,
    source: ANY_TEXT,
    destination: ANY_TEXT,
    sourcePort: ANY_PORT,
    destinationPort: [point(port)],
    inputDevice: ANY_DEVICE,
    outputDevice: ANY_DEVICE,
    mark: ANY_MARK,
    states: NEW_OR_UNTRACKED,
    direction: points([DIRECTION_ORIGINAL, DIRECTION_REPLY]),
    sourceType: ANY_TYPE,
    destinationType: ANY_TYPE,
  };
}

/** @returns the only value of a field; undefined if there are more */
export function onlyNumber(values: Intervals): number | undefined {
  const [first] = values as readonly (Interval | undefined)[];
  if (values.length !== 1 || first === undefined || first.lo !== first.hi) return undefined;
  return typeof first.lo === 'number' ? first.lo : undefined;
}
