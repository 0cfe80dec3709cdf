/** Commands `fdb`: show, add, remove and flush FDB entries of a VNI. */

import type { FdbView } from '../../api/views.js';
import { parsePeerHost } from '../../config/peer.js';
import { parseDeviceMac } from '../../config/values.js';
import {
  type Declare,
  PEER_OPTION,
  parsed,
  type Session,
  TYPE_OPTION,
  VNI_OPTION,
  type VniOption,
  vniPath,
} from '../session.js';
import { fdbText } from '../vtepctl-text.js';

interface FilterOptions extends VniOption {
  readonly type?: string;
  readonly peer?: string;
}

export const declareFdb: Declare = (program, run) => {
  const fdb = program.command('fdb').description('forwarding database (FDB) of a VNI').helpCommand(false);
  fdb
    .command('show')
    .description('show entries')
    .option(...VNI_OPTION)
    .option(...TYPE_OPTION)
    .option(...PEER_OPTION)
    .action(run(show));
  fdb
    .command('add <MAC> <PEER>')
    .description('add a static entry for a configured peer')
    .option(...VNI_OPTION)
    .action(run(add));
  fdb
    .command('del <MAC>')
    .description('remove an entry')
    .option(...VNI_OPTION)
    .action(run(del));
  fdb
    .command('flush')
    .description('remove learned entries, or those of --type')
    .option(...VNI_OPTION)
    .option(...TYPE_OPTION)
    .option(...PEER_OPTION)
    .action(run(flush));
};

async function show(session: Session<FilterOptions>): Promise<void> {
  const { type, peer } = session.options;
  const query = { limit: '1000', ...(type && { type }), ...(peer && { peer }) };
  const items = await session.client.list<FdbView>(`${await vniPath(session)}/fdb`, query);
  session.answer({ items, nextCursor: null }, () => fdbText(items));
}

async function add(session: Session<VniOption>, [mac, peer]: readonly string[]): Promise<void> {
  const body = { peer: parsed('peer', peer, parsePeerHost) };
  await session.client.call('PUT', await entryPath(session, mac), { body });
  session.answer({}, () => '');
}

async function del(session: Session<VniOption>, [mac]: readonly string[]): Promise<void> {
  await session.client.call('DELETE', await entryPath(session, mac));
  session.answer({}, () => '');
}

async function flush(session: Session<FilterOptions>): Promise<void> {
  const { type = 'dynamic', peer } = session.options;
  const query = new URLSearchParams({ type, ...(peer && { peer }) });
  const path = `${await vniPath(session)}/fdb?${query}`;
  const flushed = await session.client.call<{ removed: number }>('DELETE', path);
  session.answer(flushed, () => `${flushed.removed} removed\n`);
}

async function entryPath(session: Session<VniOption>, mac: string): Promise<string> {
  const text = parsed('MAC', mac, parseDeviceMac);
  return `${await vniPath(session)}/fdb/${text}`;
}
