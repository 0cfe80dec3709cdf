/**
 * Derives default MACs for TAPs and bridges (IEEE 802c: locally administered, unicast).
 *
 * ARP between equal MACs would fail, so a MAC differs between hosts, network namespaces and VNIs. A
 * MAC that is kept in the state file is random (`randomMac`): it differs between clones of a machine,
 * and outlives a change of the underlay address. Without a state file, the MAC is the same at every
 * start because it is derived (`deriveMac`). The machine id is the same in every namespace of a
 * machine, so the hash covers the underlay address too, and two daemons on one machine get different
 * MACs. A MAC has 40 bits of the hash: the probability that two of 10,000 VTEPs collide is one in
 * 20,000; `--mac` resolves such a collision.
 */
import { createHash, randomBytes } from 'node:crypto';
import { formatIpAddress } from '../wire/ip-address.js';
import { bridgeMacHigh } from '../wire/mac.js';

export interface Mac {
  /** First two bytes, uint16. */
  readonly high: number;
  /** Last four bytes, int32. */
  readonly low: number;
}

export interface MacSeed {
  readonly machineId: string;
  /** Canonical text of the underlay's local address; '' unknown. */
  readonly underlay: string;
  readonly vni: number;
  /** Network namespace, used when no underlay address distinguishes namespaces. */
  readonly netns?: string;
}

/**
 * First byte of a TAP's MAC. A bridge without a configured MAC uses the numerically lowest MAC of
 * its ports. Because this byte is high, a TAP that joins does not change the bridge's MAC. libvirt
 * uses the same value.
 */
const TAP_FIRST_BYTE = 0xfe;

export function deriveMac({ machineId, underlay, vni, netns = '' }: MacSeed): Mac {
  // machine-id(5) forbids exposing the machine id on the network unless it is hashed.
  const digest = createHash('sha256').update(['vtepd', machineId, underlay, vni, netns].join('\0')).digest();
  return { high: (TAP_FIRST_BYTE << 8) | digest[0], low: digest.readInt32BE(1) };
}

/** Returns the link-local address that a MAC gives, as `ADDRESS/64` (RFC 4291, Appendix A). */
export function linkLocalOf({ high, low }: Mac): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16BE(0xfe80, 0);
  bytes.writeUInt16BE(high ^ 0x0200, 8);
  bytes.writeInt32BE(low, 12);
  bytes[10] = bytes[12];
  bytes.writeUInt16BE(0xfffe, 11);
  return `${formatIpAddress(6, bytes)}/64`;
}

/** Makes a MAC that differs between any two calls. */
export function randomMac(): Mac {
  const bytes = randomBytes(5);
  return { high: (TAP_FIRST_BYTE << 8) | bytes[0], low: bytes.readInt32BE(1) };
}

/** Derives the MAC of a bridge from its first TAP; it always differs from the TAP's MAC. */
export function bridgeMac({ high, low }: Mac): Mac {
  return { high: bridgeMacHigh(high), low };
}
