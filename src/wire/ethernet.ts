/**
 * Ethernet II (IEEE 802.3 §3) with 802.1Q tags, outermost first (802.1Q-2022 §9.6; a service tag may precede).
 *
 *     +-------------------+-------------------+------------+
 *     |  destination (6)  |    source (6)     | EtherType  |            untagged
 *     +-------------------+-------------------+------------+------------+------------+
 *     |  destination (6)  |    source (6)     | 0x8100 TPID| TCI        | EtherType  |  tagged
 *     +-------------------+-------------------+------------+------------+------------+
 *
 *     TCI:  PCP (3) | DEI (1) | VLAN id (12)
 *
 * Whoever takes a frame checks once that ETHERNET_LEN bytes are there; `networkOffset` checks the rest. A frame
 * has no FCS: VXLAN carries it without (RFC 7348 §5).
 */

export const ETHERNET_LEN = 14;
export const DST_OFF = 0;
export const SRC_OFF = 6;
const TYPE_OFF = 12;

export const VLAN_TAG_LEN = 4;
/** Where the outermost tag begins, right behind the source address. */
export const VLAN_OFF = 12;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_QINQ = 0x88a8;
/** TPID that some bridges used for service tags before 802.1ad. */
const ETHERTYPE_OLD_QINQ = 0x9100;
/** Smaller values of the type field are the length of an 802.3 frame. */
export const ETHERTYPE_MIN = 0x0600;

/**
 * Fewest bytes behind a tag and its type field. Linux reads two of them when it takes the tag off, and frees a shorter frame
 * without counting it (skb_vlan_untag).
 */
const BEHIND_TAG_LEN = 2;

/** Customer tag in a service tag: what a provider bridge makes. More is not looked into. */
const MAX_TAGS = 2;

/** The field behind the addresses: an EtherType, a tag's TPID, or an 802.3 length. */
export function etherType(b: Uint8Array, off: number): number {
  return (b[off + TYPE_OFF] << 8) | b[off + TYPE_OFF + 1];
}

/** True when a tag follows the addresses, of any TPID in use: what a policy on tags applies to. */
export function hasVlanTag(b: Uint8Array, off: number): boolean {
  const type = etherType(b, off);
  return isTagType(type) || type === ETHERTYPE_OLD_QINQ;
}

/**
 * Bytes of all tags that follow the addresses, whatever their number.
 *
 * @param end offset just behind the frame
 * @returns 0 without a tag; -1 when the frame ends within a tag or the type field behind it
 */
export function vlanTagsLen(b: Uint8Array, off: number, end: number): number {
  let len = 0;
  while (off + len + ETHERNET_LEN <= end) {
    if (!hasVlanTag(b, off + len)) return len;
    len += VLAN_TAG_LEN;
  }
  return -1;
}

/**
 * Where the network header begins, behind up to two tags.
 *
 * @param end offset just behind the frame.
 * @returns offset, at most `end`; -1 when the frame ends within its Ethernet header or a tag, or has less than
 *   BEHIND_TAG_LEN bytes behind a tag
 */
export function networkOffset(b: Uint8Array, off: number, end: number): number {
  let network = off + ETHERNET_LEN;
  if (network > end) return -1;
  if (!isTagType(networkEtherType(b, network))) return network;
  for (let tags = 1; tags <= MAX_TAGS; tags++) {
    network += VLAN_TAG_LEN;
    if (network + BEHIND_TAG_LEN > end) return -1;
    if (!isTagType(networkEtherType(b, network))) return network;
  }
  return network;
}

/** The type field just before the network header; a tag's TPID when there are more than two tags. */
export function networkEtherType(b: Uint8Array, networkOff: number): number {
  return (b[networkOff - 2] << 8) | b[networkOff - 1];
}

function isTagType(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ;
}
