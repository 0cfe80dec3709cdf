/**
 * Assertions on offloads that depend on the network, for labs that change the network.
 *
 * These labs change the network while data flows between the hosts of `two-hosts.ts`.
 */
import type { Test } from 'tap';
import type { OffloadName } from '../../src/exchange/offloads.js';
import { assertIdentity } from './metrics.js';
import { assertPing, assertTransferWhile } from './traffic.js';
import { FAR_VM, offloadsOf, type TwoHosts } from './two-hosts.js';
import type { Vtepd } from './vtepd.js';
import { eventually } from './wait.js';

/**
 * Waits until the status lists the offload, or no longer lists it.
 *
 * @param why reason, for messages
 */
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
  t.pass(`${name} is ${used ? 'used' : 'unused'}: ${why}`);
}

/**
 * Runs `act` during a transfer from vm101, and asserts that the transfer succeeds. The offload must
 * be in use at the start.
 */
export async function assertTransferDuring(
  t: Test,
  hosts: TwoHosts,
  offload: OffloadName,
  act: () => Promise<void>,
): Promise<void> {
  const { vm101, vm105, vtepd } = hosts;
  await assertPing(t, vm101, FAR_VM);
  await assertTransferWhile(t, vm101, vm105, FAR_VM, async () => {
    await eventually('the transfer to be running', async () => (await sent(vtepd)) > 1000);
    await assertOffload(t, vtepd, offload, true, 'before the change');
    await act();
  });
  assertIdentity(t, await vtepd.metrics());
}

/** Number of frames sent to peers. */
export async function sent(vtepd: Vtepd): Promise<number> {
  return (await vtepd.metrics()).sum('vtepd_peer_tx_frames_total');
}
