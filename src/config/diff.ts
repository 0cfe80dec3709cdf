/**
 * Difference between two configurations, as steps. Pure functions.
 *
 * Peers are identified by host. A VNI whose TAP gets another name or MAC is removed and created
 * again, because a TAP keeps its name and MAC while it is in use.
 */
import { COMMON_KEYS } from './schema.js';
import type { PeerSettings, Settings, VniSettings } from './settings.js';
import { defaultSettings, keyOf, type OwnSettings } from './vni-words.js';

export interface Difference {
  /**
   * New VNIs that have no number, device, address or MAC of a removed VNI. They can be added before
   * any removal.
   */
  readonly added: readonly VniSettings[];
  readonly removed: readonly VniSettings[];
  /** New VNIs that have the number, device, address or MAC of a removed VNI. */
  readonly replacing: readonly VniSettings[];
  readonly changed: readonly VniDifference[];
}

/** Changes to a VNI that is kept. */
export interface VniDifference {
  readonly before: VniSettings;
  readonly after: VniSettings;
  /** Settings that differ; empty if only peers differ. */
  readonly fields: readonly (keyof OwnSettings)[];
  readonly peersRemoved: readonly PeerSettings[];
  readonly peersAdded: readonly PeerSettings[];
}

const FIELDS = Object.keys(defaultSettings(0)) as (keyof OwnSettings)[];

/** Computes the steps. A recreated VNI is in `removed` and in `replacing`. */
export function difference(before: readonly VniSettings[], after: readonly VniSettings[]): Difference {
  const known = new Map(before.map((vni) => [vni.vni, vni]));
  const wanted = new Map(after.map((vni) => [vni.vni, vni]));
  const isKept = ({ vni }: VniSettings) => {
    const [old, current] = [known.get(vni), wanted.get(vni)];
    return old !== undefined && current !== undefined && old.tap === current.tap && old.mac === current.mac;
  };
  const removed = before.filter((vni) => !isKept(vni));
  const created = after.filter((vni) => !isKept(vni));
  const isReplacing = (vni: VniSettings) => removed.some((old) => reusesPartOf(vni, old));
  return {
    added: created.filter((vni) => !isReplacing(vni)),
    removed,
    replacing: created.filter(isReplacing),
    changed: after
      .filter((vni) => isKept(vni) && known.get(vni.vni) !== vni)
      .map((vni) => vniDifference(known.get(vni.vni)!, vni))
      .filter((change) => change.fields.length + change.peersRemoved.length + change.peersAdded.length > 0),
  };
}

/** Returns one line per change, for people: `vni 100: mtu`, `vni 100: peer 192.0.2.1 removed`. */
export function describe({ added, removed, replacing, changed }: Difference): string[] {
  const replacingIds = new Set(replacing.map(({ vni }) => vni));
  const removedIds = new Set(removed.map(({ vni }) => vni));
  return [
    ...removed.filter(({ vni }) => !replacingIds.has(vni)).map(({ vni }) => `vni ${vni}: removed`),
    ...[...added, ...replacing].map(
      ({ vni }) => `vni ${vni}: ${removedIds.has(vni) ? 'recreated' : 'added'}`,
    ),
    ...changed.flatMap(describeVni),
  ];
}

/**
 * Returns the keys of changed settings that are not per VNI; they take effect at the next start.
 */
export function daemonDifference(before: Settings, after: Settings): string[] {
  return COMMON_KEYS.filter((key) => !isSame(before[key as keyof Settings], after[key as keyof Settings]));
}

function reusesPartOf(vni: VniSettings, removed: VniSettings): boolean {
  return (
    vni.vni === removed.vni ||
    vni.tap === removed.tap ||
    vni.bridge === removed.tap ||
    (vni.mac !== '' && vni.mac === removed.mac) ||
    vni.addresses.some((address) => removed.addresses.includes(address))
  );
}

/** Does not compare a list of peers with itself: 1000 VNIs can share one list of 1000 peers. */
function vniDifference(before: VniSettings, after: VniSettings): VniDifference {
  const fields = FIELDS.filter((field) => !isSame(before[field], after[field]));
  if (before.peers === after.peers) return { before, after, fields, peersRemoved: [], peersAdded: [] };
  const oldPeers = new Map(before.peers.map((peer) => [peer.host, peer]));
  const newPeers = new Map(after.peers.map((peer) => [peer.host, peer]));
  return {
    before,
    after,
    fields,
    peersRemoved: before.peers.filter((peer) => !isSamePeer(peer, newPeers.get(peer.host))),
    peersAdded: after.peers.filter((peer) => !isSamePeer(peer, oldPeers.get(peer.host))),
  };
}

function describeVni({ after: { vni }, fields, peersRemoved, peersAdded }: VniDifference): string[] {
  const [before, now] = [peersRemoved, peersAdded].map((peers) => new Set(peers.map(({ host }) => host)));
  return [
    ...fields.map((field) => `vni ${vni}: ${keyOf(field)}`),
    ...[...before].filter((host) => !now.has(host)).map((host) => `vni ${vni}: peer ${host} removed`),
    ...[...now].map((host) => `vni ${vni}: peer ${host} ${before.has(host) ? 'changed' : 'added'}`),
  ];
}

function isSamePeer(a: PeerSettings, b: PeerSettings | undefined): boolean {
  return a === b || (a.port === b?.port && a.flood === b.flood && a.all === b.all);
}

/** Compares two values of settings: text, numbers, lists and objects of these. */
export function isSame(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
