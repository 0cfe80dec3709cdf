/**
 * Ethernet II header (IEEE 802.3 §3) with 802.1Q tags.
 *
 * The outermost tag comes first (802.1Q-2022 §9.6); a service tag can precede a customer tag.
 *
 *     +-------------------+-------------------+------------+
 *     |  destination (6)  |    source (6)     | EtherType  |            untagged
 *     +-------------------+-------------------+------------+------------+------------+
 *     |  destination (6)  |    source (6)     | 0x8100 TPID| TCI        | EtherType  |  tagged
 *     +-------------------+-------------------+------------+------------+------------+
 *
 *     TCI:  PCP (3) | DEI (1) | VLAN id (12)
 *
 * The caller checks once that a frame has ETHERNET_LEN bytes; `networkOffset` checks the bytes
 * behind the header. A frame has no FCS, because VXLAN carries frames without FCS (RFC 7348 §5).
 */

export const ETHERNET_LEN = 14;
export const DST_OFF = 0;
export const SRC_OFF = 6;
const TYPE_OFF = 12;

export const VLAN_TAG_LEN = 4;
/** Offset of the outermost tag, directly behind the source address. */
export const VLAN_OFF = 12;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_QINQ = 0x88a8;
/** TPID of service tags in some bridges older than 802.1ad. */
const ETHERTYPE_OLD_QINQ = 0x9100;
/** Lowest EtherType; smaller values of the type field are the length of an 802.3 frame. */
export const ETHERTYPE_MIN = 0x0600;

/**
 * Fewest bytes behind a tag and its type field.
 *
 * Linux reads two bytes there when it removes the tag, and discards a shorter frame without
 * counting the drop (skb_vlan_untag).
 */
const BEHIND_TAG_LEN = 2;

/** Most tags that are parsed: a service tag and a customer tag, as a provider bridge sends them. */
const MAX_TAGS = 2;

/** Returns the field behind the addresses: an EtherType, a tag's TPID, or an 802.3 length. */
export function etherType(b: Uint8Array, off: number): number {
  return (b[off + TYPE_OFF] << 8) | b[off + TYPE_OFF + 1];
}

/**
 * Returns true when a tag with one of the TPIDs in use follows the addresses. The VLAN policy
 * (`--vlan`) applies to such frames.
 */
export function hasVlanTag(b: Uint8Array, off: number): boolean {
  const type = etherType(b, off);
  return isTagType(type) || type === ETHERTYPE_OLD_QINQ;
}

/**
 * Length in bytes of all tags that follow the addresses, however many there are.
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
 * Offset of the network header, behind up to two tags.
 *
 * @param end offset just behind the frame
 * @returns offset, at most `end`; -1 when the frame ends within its Ethernet header or a tag, or
 *   has fewer than BEHIND_TAG_LEN bytes behind a tag
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

/**
 * Returns the type field directly before the network header; in a frame with more than two tags,
 * the TPID of the third tag.
 */
export function networkEtherType(b: Uint8Array, networkOff: number): number {
  return (b[networkOff - 2] << 8) | b[networkOff - 1];
}

function isTagType(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ;
}
