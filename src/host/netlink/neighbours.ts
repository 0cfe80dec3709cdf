/**
 * The kernel's neighbour table by rtnetlink: RTM_GETNEIGH (rtnetlink(7), linux/neighbour.h).
 */
import { formatIpAddress } from '../../wire/ip-address.js';
import { attributesIn, LITTLE, NLM_F_DUMP, Request, viewOf } from './message.js';
import { dump } from './request.js';

export interface Neighbour {
  /** Interface index. */
  readonly index: number;
  /** IPv4 address as text. */
  readonly address: string;
  /** MAC, 6 bytes. */
  readonly mac: Uint8Array;
}

const RTM_GETNEIGH = 30;
/** `struct ndmsg`: family u8, pad, index s32, state u16, flags u8, type u8. */
const FIXED_LEN = 12;
const AF_INET = 2;
/** State of an address whose MAC is computed, such as a multicast address. */
const NUD_NOARP = 0x40;
const NDA = { DST: 1, LLADDR: 2 } as const;

/** Lists the IPv4 neighbours that have a MAC of their own. @throws NetlinkError */
export async function dumpNeighbours(): Promise<Neighbour[]> {
  const fixed = new Uint8Array(FIXED_LEN);
  fixed[0] = AF_INET;
  const request = new Request(RTM_GETNEIGH, NLM_F_DUMP, fixed);
  const messages = await dump({ what: 'list neighbours', request });
  return messages.flatMap(({ body }) => {
    if (body.length < FIXED_LEN || body[0] !== AF_INET) return [];
    const view = viewOf(body);
    if ((view.getUint16(8, LITTLE) & NUD_NOARP) !== 0) return [];
    const attributes = attributesIn(body, FIXED_LEN);
    const [address, mac] = [attributes.get(NDA.DST), attributes.get(NDA.LLADDR)];
    if (address?.length !== 4 || mac?.length !== 6) return [];
    return [{ index: view.getInt32(4, LITTLE), address: formatIpAddress(4, address), mac }];
  });
}
