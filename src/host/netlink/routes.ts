/**
 * Look-up of one route by rtnetlink: RTM_GETROUTE (rtnetlink(7)), as `ip route get`.
 */
import { ERRNO } from '../../abi/errno.js';
import { formatIpAddress, type IpAddress } from '../../wire/ip-address.js';
import { attributesIn, LITTLE, type Message, nested, Request, u32Of, viewOf } from './message.js';
import { getEach, NetlinkError, type Operation } from './request.js';

export interface RouteLookup {
  /** Index of the outgoing device. */
  readonly device: number;
  /** Preferred source address as text without scope; '' none. */
  readonly source: string;
  /**
   * Configured MTU of the route, bytes; undefined: none. A path MTU that the kernel learned from
   * ICMP is left out: it expires within minutes and is possibly forged.
   */
  readonly mtu: number | undefined;
}

const RTM_GETROUTE = 26;
/** `struct rtmsg`. */
const FIXED_LEN = 12;
const FAMILIES: Readonly<Record<number, 4 | 6>> = { 2: 4, 10: 6 };
const AF = { 4: 2, 6: 10 } as const;
const ADDRESS_LEN = { 4: 4, 6: 16 } as const;
const RTA = { DST: 1, OIF: 4, PREFSRC: 7, METRICS: 8, CACHEINFO: 12, MARK: 16 } as const;
const RTAX_MTU = 2;
/** Offset of `rta_expires` in `struct rta_cacheinfo`. */
const EXPIRES_OFF = 8;

/** Errors of a destination without a route, and of `prohibit` and `blackhole` routes (ip-route(8)). */
const NO_ROUTE: readonly number[] = [-ERRNO.ENETUNREACH, -ERRNO.EHOSTUNREACH, -ERRNO.EACCES, -ERRNO.EINVAL];
/** Errors of an outgoing device that does not exist or is down. */
const NO_DEVICE: readonly number[] = [-ERRNO.ENODEV, -ERRNO.ENETDOWN];

/** Look-ups requested in this iteration of the event loop, which share requests. */
let waiting: Waiting[] = [];

interface Waiting {
  readonly operation: Operation;
  readonly resolve: (found: Message | NetlinkError) => void;
  readonly reject: (error: Error) => void;
}

/** Properties of a socket that decide the route of its packets. */
export interface RouteOptions {
  /** Index of the outgoing device; default 0: any. */
  readonly oif?: number;
  /** Mark of the packets (SO_MARK), for policy routing; default 0: none. */
  readonly mark?: number;
}

/**
 * Looks up the route to an address.
 *
 * @returns undefined when there is no route
 * @throws NetlinkError
 */
export async function lookUpRoute(
  address: IpAddress,
  options: RouteOptions = {},
): Promise<RouteLookup | undefined> {
  const found = await ask({
    what: `look up the route to ${address.text}`,
    request: routeRequest(address, options),
  });
  if (!(found instanceof NetlinkError)) return parseRoute(found);
  if ([...NO_ROUTE, ...NO_DEVICE].includes(found.errno)) return undefined;
  throw found;
}

export function routeRequest({ family, bytes }: IpAddress, { oif = 0, mark = 0 }: RouteOptions): Request {
  const fixed = new Uint8Array(FIXED_LEN);
  fixed[0] = AF[family];
  fixed[1] = 8 * ADDRESS_LEN[family];
  const request = new Request(RTM_GETROUTE, 0, fixed).bytes(RTA.DST, bytes.subarray(0, ADDRESS_LEN[family]));
  if (oif !== 0) request.u32(RTA.OIF, oif);
  return mark === 0 ? request : request.u32(RTA.MARK, mark);
}

function ask(operation: Operation): Promise<Message | NetlinkError> {
  return new Promise((resolve, reject) => {
    if (waiting.length === 0) setImmediate(() => void askWaiting());
    waiting.push({ operation, resolve, reject });
  });
}

async function askWaiting(): Promise<void> {
  const asked = waiting;
  waiting = [];
  try {
    const found = await getEach(asked.map(({ operation }) => operation));
    for (const [i, { resolve }] of asked.entries()) resolve(found[i]);
  } catch (error) {
    for (const { reject } of asked) reject(error as Error);
  }
}

/** @returns undefined for a route of another family or without a device, or a malformed message */
export function parseRoute({ body }: Message): RouteLookup | undefined {
  if (body.length < FIXED_LEN) return undefined;
  const family = FAMILIES[body[0]];
  const attributes = attributesIn(body, FIXED_LEN);
  const device = u32Of(attributes, RTA.OIF);
  if (family === undefined || device === undefined) return undefined;
  const source = attributes.get(RTA.PREFSRC);
  const cache = attributes.get(RTA.CACHEINFO);
  const expires =
    cache === undefined || cache.length < EXPIRES_OFF + 4 ? 0 : viewOf(cache).getInt32(EXPIRES_OFF, LITTLE);
  return {
    device,
    source: source?.length === ADDRESS_LEN[family] ? formatIpAddress(family, source) : '',
    mtu: expires === 0 ? u32Of(nested(attributes, RTA.METRICS), RTAX_MTU) : undefined,
  };
}
