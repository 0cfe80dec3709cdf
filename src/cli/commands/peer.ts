/** Commands `peer`: list, add and remove peers of a VNI. */

import type { PeerView } from '../../api/views.js';
import { type PeerText, parsePeer } from '../../config/peer.js';
import {
  type Declare,
  parsed,
  peerPath,
  type Session,
  VNI_OPTION,
  type VniOption,
  vniPath,
} from '../session.js';
import { peersText } from '../vtepctl-text.js';

export const declarePeer: Declare = (program, run) => {
  const peer = program.command('peer').description('remote VTEPs of a VNI').helpCommand(false);
  peer
    .command('list')
    .description('list peers with their counters')
    .option(...VNI_OPTION)
    .action(run(list));
  peer
    .command('add <ADDR[,port=P][,flood=on|off][,all=on|off]>')
    .description('add a peer')
    .option(...VNI_OPTION)
    .action(run(add));
  peer
    .command('del <ADDR>')
    .description('remove a peer, and all its FDB entries')
    .option(...VNI_OPTION)
    .action(run(del));
};

async function list(session: Session<VniOption>): Promise<void> {
  const items = await session.client.list<PeerView>(`${await vniPath(session)}/peers`);
  session.answer({ items, nextCursor: null }, () => peersText(items, session.environment.nowMs()));
}

async function add(session: Session<VniOption>, [text]: readonly string[]): Promise<void> {
  const peer = parsed('peer', text, parsePeer);
  const path = `${await vniPath(session, peer.vni)}/peers`;
  const added = await session.client.call<object>('POST', path, { body: peerBody(peer) });
  session.answer(added, () => '');
}

async function del(session: Session<VniOption>, [text]: readonly string[]): Promise<void> {
  await session.client.call('DELETE', await peerPath(session, text));
  session.answer({}, () => '');
}

/** Returns a peer in the form of the API, without omitted options. */
export function peerBody({ host, port, flood, all }: PeerText): object {
  return {
    address: host,
    ...(port !== undefined && { port }),
    ...(flood !== undefined && { flood }),
    ...(all !== undefined && { all }),
  };
}
