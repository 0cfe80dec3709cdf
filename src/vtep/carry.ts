/**
 * Applies a configuration difference to the running overlay, step by step.
 *
 * Each step registers its undo, so that the caller can revert all completed steps. Additions
 * precede removals where possible. VNIs and peers outside the difference are not affected. A worker
 * that is slow or dies does not make an undo step fail: the step changes the desired state, and the
 * workers apply it later.
 */
import type { Difference, VniDifference } from '../config/diff.js';
import type { VniSettings } from '../config/settings.js';
import type { OwnSettings } from '../config/vni-words.js';
import type { Mode } from '../controller/handle.js';
import type { VniPolicy } from '../exchange/protocol.js';
import type { Rollback } from '../host/rollback.js';
import type { Overlay } from './overlay.js';

/** Settings that have the same name in the data plane. A missing one does not compile. */
const POLICY = Object.keys({
  learning: true,
  ageingS: true,
  fdbLimit: true,
  flood: true,
  accept: true,
  vlan: true,
} satisfies Record<keyof VniPolicy & keyof VniSettings, true>) as (keyof VniPolicy & keyof VniSettings)[];

/**
 * @param undo collects the undo steps of all completed steps, also on failure
 * @throws Error with a message for users
 */
export async function carryOut(
  { added, removed, replacing, changed }: Difference,
  overlay: Overlay,
  undo: Rollback,
): Promise<void> {
  await add(added, overlay, undo);
  for (const vni of changed) await changeVni(vni, overlay, undo);
  for (const vni of removed) await remove(vni, overlay, undo);
  await add(replacing, overlay, undo);
}

async function add(vnis: readonly VniSettings[], overlay: Overlay, undo: Rollback): Promise<void> {
  if (vnis.length === 0) return;
  await overlay.add(vnis);
  for (const vni of vnis) undo.push(() => overlay.undoAdd(vni));
}

/** Removes a VNI. The undo adds the VNI again, without its learned entries. */
async function remove(vni: VniSettings, overlay: Overlay, undo: Rollback): Promise<void> {
  await overlay.remove(vni);
  undo.push(() => overlay.restore(vni));
}

async function changeVni(difference: VniDifference, overlay: Overlay, undo: Rollback): Promise<void> {
  const { before, after, fields, peersRemoved, peersAdded } = difference;
  const both = async (work: (settings: VniSettings, mode: Mode) => Promise<void>) => {
    undo.push(() => work(before, 'reconcile'));
    await work(after, 'revert');
  };
  const has = (field: keyof OwnSettings) => fields.includes(field);
  const policy = POLICY.filter(has);
  if (policy.length > 0)
    await both(({ vni, ...own }, mode) => overlay.setPolicy(vni, pick(own, policy), mode));
  if (has('addresses')) await both((vni) => overlay.readdress(vni));
  if (has('bridge')) await both((vni) => overlay.moveTo(vni));
  if (has('mtu') || has('bridge')) await both((vni, mode) => overlay.changeMtu(vni, mode));
  if (peersRemoved.length > 0) {
    undo.push(() => overlay.addPeers(before, peersRemoved, 'reconcile'));
    await overlay.removePeers(after, peersRemoved);
  }
  if (peersAdded.length > 0) {
    undo.push(() => overlay.removePeers(before, peersAdded, 'reconcile'));
    await overlay.addPeers(after, peersAdded);
  }
}

function pick(
  settings: Omit<VniSettings, 'vni'>,
  fields: readonly (typeof POLICY)[number][],
): Partial<VniPolicy> {
  return Object.fromEntries(fields.map((field) => [field, settings[field]]));
}
