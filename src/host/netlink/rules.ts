/**
 * Rules of policy routing by rtnetlink: RTM_GETRULE (rtnetlink(7), linux/fib_rules.h).
 */
import { formatIpAddress, type IpAddress, parseIpAddress } from '../../wire/ip-address.js';
import {
  type Attributes,
  attributesIn,
  LITTLE,
  type Message,
  NLM_F_DUMP,
  Request,
  textOf,
  u8Of,
  u32Of,
  viewOf,
} from './message.js';
import { dump } from './request.js';

export interface PolicyRule {
  readonly priority: number;
  readonly family: 4 | 6;
  /** FIB_RULE_INVERT, `not`: the rule selects what its selectors do not. */
  readonly isInverted: boolean;
  readonly source: Prefix | undefined;
  readonly destination: Prefix | undefined;
  /** 0: the rule does not select by marks. */
  readonly fwmask: number;
  readonly fwmark: number;
  /** Names; '' where the rule does not select by this device. */
  readonly iif: string;
  readonly oif: string;
  readonly uidRange: Range | undefined;
  /** IPPROTO_…; 0: any. */
  readonly protocol: number;
  readonly sourcePorts: Range | undefined;
  readonly destinationPorts: Range | undefined;
  /** 0: any. */
  readonly tos: number;
  readonly table: number;
  /** The rule selects by something else: DSCP, flow label, or an attribute that is unknown here. */
  readonly selectsMore?: boolean;
}

export interface Prefix {
  readonly address: IpAddress;
  readonly length: number;
}

/** Both ends inclusive. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

const RTM_GETRULE = 34;
/**
 * `struct fib_rule_hdr`: family u8, destination length u8, source length u8, TOS u8, table u8,
 * reserved u8 twice, action u8, flags u32.
 */
const FIXED_LEN = 12;
const FAMILIES: Readonly<Record<number, 4 | 6>> = { 2: 4, 10: 6 };
const INVERT = 2;
const FRA = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  PRIORITY: 6,
  FWMARK: 10,
  TABLE: 15,
  FWMASK: 16,
  OIFNAME: 17,
  UID_RANGE: 20,
  IP_PROTO: 22,
  SPORT_RANGE: 23,
  DPORT_RANGE: 24,
} as const;
/**
 * Attributes that select nothing: goto, flow, suppress ×2, l3mdev, padding, origin. The tunnel
 * (`tun_id`) selects received packets of lightweight tunnels only.
 */
const OTHERS: readonly number[] = [4, 11, 12, 13, 14, 18, 19, 21];
const KNOWN: readonly number[] = [...Object.values(FRA), ...OTHERS];

/** Lists the rules of IPv4 and IPv6, in no particular order. @throws NetlinkError */
export async function dumpPolicyRules(): Promise<PolicyRule[]> {
  const request = new Request(RTM_GETRULE, NLM_F_DUMP, new Uint8Array(FIXED_LEN));
  const messages = await dump({ what: 'list the rules of policy routing', request });
  return messages.flatMap((message) => parseRule(message) ?? []);
}

/** @returns undefined for a rule of another family, or a malformed message */
export function parseRule({ body }: Message): PolicyRule | undefined {
  if (body.length < FIXED_LEN) return undefined;
  const family = FAMILIES[body[0]];
  if (family === undefined) return undefined;
  const attributes = attributesIn(body, FIXED_LEN);
  const fwmark = u32Of(attributes, FRA.FWMARK);
  return {
    priority: u32Of(attributes, FRA.PRIORITY) ?? 0,
    family,
    isInverted: (viewOf(body).getUint32(8, LITTLE) & INVERT) !== 0,
    source: prefixOf(attributes, FRA.SRC, family, body[2]),
    destination: prefixOf(attributes, FRA.DST, family, body[1]),
    fwmask: u32Of(attributes, FRA.FWMASK) ?? (fwmark === undefined ? 0 : 0xffffffff),
    fwmark: fwmark ?? 0,
    iif: textOf(attributes, FRA.IIFNAME),
    oif: textOf(attributes, FRA.OIFNAME),
    uidRange: rangeOf(attributes, FRA.UID_RANGE, 4),
    protocol: u8Of(attributes, FRA.IP_PROTO) ?? 0,
    sourcePorts: rangeOf(attributes, FRA.SPORT_RANGE, 2),
    destinationPorts: rangeOf(attributes, FRA.DPORT_RANGE, 2),
    tos: body[3],
    table: u32Of(attributes, FRA.TABLE) ?? body[4],
    ...([...attributes.keys()].some((type) => !KNOWN.includes(type)) && { selectsMore: true }),
  };
}

function prefixOf(attributes: Attributes, type: number, family: 4 | 6, length: number): Prefix | undefined {
  const bytes = attributes.get(type);
  if (bytes?.length !== (family === 4 ? 4 : 16)) return undefined;
  const address = parseIpAddress(formatIpAddress(family, bytes));
  return address && { address, length };
}

/** @param size of each end, bytes */
function rangeOf(attributes: Attributes, type: number, size: 2 | 4): Range | undefined {
  const bytes = attributes.get(type);
  if (bytes === undefined || bytes.length < 2 * size) return undefined;
  const view = viewOf(bytes);
  const at = (offset: number) =>
    size === 2 ? view.getUint16(offset, LITTLE) : view.getUint32(offset, LITTLE);
  return { min: at(0), max: at(size) };
}
