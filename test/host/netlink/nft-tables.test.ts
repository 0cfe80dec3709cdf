/** The request for the tables of nftables. */
import t from 'tap';
import { tablesRequest } from '../../../src/host/netlink/nft-tables.js';
import { hex } from '../../support/hex.js';

t.test('the request', async (t) => {
  t.same(
    tablesRequest().encode(1),
    hex(`
      14000000 010a0103 01000000 00000000   # nftables, NFT_MSG_GETTABLE, request and dump
      00000000                              # all families
    `),
  );
});
