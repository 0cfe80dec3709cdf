/**
 * Addresses of network devices by rtnetlink: RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR (rtnetlink(7),
 * linux/if_addr.h).
 */
import { formatIpAddress, parseCidr } from '../../wire/ip-address.js';
import {
  attributesIn,
  LITTLE,
  type Message,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REPLACE,
  Request,
  u8Of,
  u32Of,
  viewOf,
} from './message.js';
import { dump, type Operation } from './request.js';

export interface Address {
  /** Interface index. */
  readonly index: number;
  readonly family: 4 | 6;
  /** Canonical text without scope and prefix length. */
  readonly text: string;
  /** Prefix length, bits. */
  readonly length: number;
  /** False while duplicate address detection runs (tentative), and after it failed. */
  readonly usable: boolean;
  /** Which program added it: 0 unknown, 1 to 3 the kernel, OWN_PROTOCOL vtepd (IFA_PROTO). */
  readonly protocol: number;
  /** IFA_F_TEMPORARY: a privacy address (RFC 8981). */
  readonly temporary: boolean;
}

/**
 * Mark of the addresses that vtepd adds: 'v'. Linux keeps it since 5.18; before that, the protocol
 * of every address is 0.
 */
export const OWN_PROTOCOL = 0x76;

/** IFAPROT_KERNEL_LO, _RA and _LL; Linux reports them since 5.18. */
const KERNEL_PROTOCOLS = [1, 2, 3];

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

/** `struct ifaddrmsg`: family u8, prefix length u8, flags u8, scope u8, index u32. */
const FIXED_LEN = 8;
const FAMILIES: Readonly<Record<number, 4 | 6>> = { 2: 4, 10: 6 };
const AF = { 4: 2, 6: 10 } as const;
const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8, PROTO: 11 } as const;
const TEMPORARY = 0x01;
const OPTIMISTIC = 0x04;
const DAD_FAILED = 0x08;
const TENTATIVE = 0x40;

/** @returns undefined for an address of another family, or a malformed message */
export function parseAddress({ body }: Message): Address | undefined {
  if (body.length < FIXED_LEN) return undefined;
  const family = FAMILIES[body[0]];
  const attributes = attributesIn(body, FIXED_LEN);
  // IFA_LOCAL is the address of this host; on a point-to-point device IFA_ADDRESS is the far end.
  const bytes = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS);
  if (family === undefined || bytes?.length !== (family === 4 ? 4 : 16)) return undefined;
  const flags = u32Of(attributes, IFA.FLAGS) ?? body[2];
  const isTentative = (flags & TENTATIVE) !== 0 && (flags & OPTIMISTIC) === 0;
  return {
    index: viewOf(body).getUint32(4, LITTLE),
    family,
    text: formatIpAddress(family, bytes),
    length: body[1],
    usable: !isTentative && (flags & DAD_FAILED) === 0,
    protocol: u8Of(attributes, IFA.PROTO) ?? 0,
    temporary: family === 6 && (flags & TEMPORARY) !== 0,
  };
}

/** True for an address that neither the kernel has generated nor vtepd has added. */
export function isOfOthers({ protocol }: Address): boolean {
  return protocol !== OWN_PROTOCOL && !KERNEL_PROTOCOLS.includes(protocol);
}

/** Lists the addresses of all devices of this network namespace. @throws NetlinkError */
export async function dumpAddresses(): Promise<Address[]> {
  const request = new Request(RTM_GETADDR, NLM_F_DUMP, new Uint8Array(FIXED_LEN));
  const messages = await dump({ what: 'list addresses', request });
  return messages.flatMap((message) => parseAddress(message) ?? []);
}

/**
 * Adds an address, or confirms one that is there.
 *
 * @param cidr `ADDRESS/LENGTH`
 * @param protocol as in `Address`
 */
export function addAddress(cidr: string, index: number, device: string, protocol = 0): Operation {
  const added = request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, cidr, index);
  return {
    what: `add the address ${cidr} to ${device}`,
    request: protocol === 0 ? added : added.u8(IFA.PROTO, protocol),
  };
}

export function deleteAddress(cidr: string, index: number, device: string): Operation {
  return {
    what: `remove the address ${cidr} from ${device}`,
    request: request(RTM_DELADDR, 0, cidr, index),
  };
}

function request(type: number, flags: number, cidr: string, index: number): Request {
  const parsed = parseCidr(cidr);
  if (parsed === undefined) throw new TypeError(`${cidr} is no address with a prefix length`);
  const { address, length } = parsed;
  const fixed = new Uint8Array(FIXED_LEN);
  fixed[0] = AF[address.family];
  fixed[1] = length;
  viewOf(fixed).setUint32(4, index, LITTLE);
  const bytes = address.bytes.subarray(0, address.family === 4 ? 4 : 16);
  return new Request(type, flags, fixed).bytes(IFA.LOCAL, bytes).bytes(IFA.ADDRESS, bytes);
}
