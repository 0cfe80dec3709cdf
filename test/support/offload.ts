/**
 * An offload that comes and goes with the network, for labs that change what it depends on, also while bytes flow between
 * the hosts of `two-hosts.ts`.
 */
import type { Test } from 'tap';
import type { OffloadName } from '../../src/exchange/offloads.js';
import { assertIdentity } from './metrics.js';
import { assertPing, assertTransferWhile } from './traffic.js';
import { FAR_VM, offloadsOf, type TwoHosts } from './two-hosts.js';
import type { Vtepd } from './vtepd.js';
import { eventually } from './wait.js';

/** Asserts that the status comes to show it, or no longer does. */
export async function assertOffload(
  t: Test,
  vtepd: Vtepd,
  name: OffloadName,
  used: boolean,
  why: string,
): Promise<void> {
  await eventually(
    `${name} to be ${used ? 'used' : 'unused'}: ${why}`,
    async () => (await offloadsOf(vtepd)).includes(name) === used,
  );
  t.pass(why);
}

/** A transfer from vm101 that is under way during all of this, begun with the offload. */
export async function assertTransferDuring(
  t: Test,
  hosts: TwoHosts,
  offload: OffloadName,
  act: () => Promise<void>,
): Promise<void> {
  const { vm101, vm105, vtepd } = hosts;
  await assertPing(t, vm101, FAR_VM);
  await assertTransferWhile(t, vm101, vm105, FAR_VM, async () => {
    await eventually('the transfer to be under way', async () => (await sent(vtepd)) > 1000);
    await assertOffload(t, vtepd, offload, true, 'at first');
    await act();
  });
  assertIdentity(t, await vtepd.metrics());
}

/** Frames to peers. */
export async function sent(vtepd: Vtepd): Promise<number> {
  return (await vtepd.metrics()).sum('vtepd_peer_tx_frames_total');
}
