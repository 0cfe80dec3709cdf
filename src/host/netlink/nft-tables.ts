/**
 * The tables of nftables in this network namespace: NFT_MSG_GETTABLE (linux/netfilter/nf_tables.h).
 *
 * Only their number: nft(8) reads what is in them.
 */
import { ERRNO } from '../../abi/errno.js';
import { NLM_F_DUMP, Request } from './message.js';
import { dump, NETLINK_NETFILTER, NetlinkError } from './request.js';

/** NFNL_SUBSYS_NFTABLES << 8, and the message within it. */
const NFT_MSG_GETTABLE = (10 << 8) | 1;
/** `struct nfgenmsg`: family u8, version u8, resource id u16. Family 0 asks for all. */
const FIXED_LEN = 4;

/** Errors of a kernel without nftables. */
const NO_NFTABLES: readonly number[] = [-ERRNO.EPROTONOSUPPORT, -ERRNO.EOPNOTSUPP, -ERRNO.EINVAL];

export function tablesRequest(): Request {
  return new Request(NFT_MSG_GETTABLE, NLM_F_DUMP, new Uint8Array(FIXED_LEN));
}

/** Counts the tables of all families; needs CAP_NET_ADMIN. @throws NetlinkError */
export async function countNftTables(): Promise<number> {
  try {
    const tables = await dump({
      what: 'list the tables of nftables',
      request: tablesRequest(),
      protocol: NETLINK_NETFILTER,
    });
    return tables.length;
  } catch (error) {
    if (error instanceof NetlinkError && NO_NFTABLES.includes(error.errno)) return 0;
    throw error;
  }
}
