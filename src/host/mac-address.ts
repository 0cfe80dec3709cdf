/**
 * MACs that nobody has to configure: the same at every start, different on every host, in every network
 * namespace and for every VNI (IEEE 802c: locally administered, unicast).
 *
 * The machine id alone would be the same in every namespace of a machine, and ARP between two daemons on one
 * box would fail; their underlay addresses differ. What is left is 40 bits of a hash: among 10,000 VTEPs two
 * are alike with a chance of one in 20,000, and `--mac` is there for them.
 */
import { createHash } from 'node:crypto';

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
  /** Network namespace, for when no underlay address tells namespaces apart. */
  readonly netns?: string;
}

/**
 * First byte of a TAP's MAC. A bridge without a MAC of its own takes the numerically lowest of its ports: high as
 * this is, joining a bridge does not change the address that the bridge's neighbours know. libvirt does likewise.
 */
const TAP_FIRST_BYTE = 0xfe;

/** First byte of the MAC of a bridge that we make: the rest is that of its first TAP. */
const BRIDGE_FIRST_BYTE = 0xfa;

export function deriveMac({ machineId, underlay, vni, netns = '' }: MacSeed): Mac {
  // The machine id is not to be shown to the network as it is (machine-id(5)): hashed, it may.
  const digest = createHash('sha256').update(['vtepd', machineId, underlay, vni, netns].join('\0')).digest();
  return { high: (TAP_FIRST_BYTE << 8) | digest[0], low: digest.readInt32BE(1) };
}

/** MAC for a bridge made around a TAP: never that of the TAP itself. */
export function bridgeMac({ high, low }: Mac): Mac {
  return { high: (BRIDGE_FIRST_BYTE << 8) | (high & 0xff), low };
}
