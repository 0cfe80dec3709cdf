/**
 * What has to change when other settings are to hold: pure, from settings to steps. Peers are told apart by host. A VNI
 * whose device has another name or MAC is made anew, for neither can change under a device that is in use.
 */
import { COMMON_KEYS } from './schema.js';
import type { PeerSettings, Settings, VniSettings } from './settings.js';
import { keyOf, type OwnSettings, standardSettings } from './vni-words.js';

export interface Difference {
  /** Those that need nothing of a VNI that goes: they can come before anything is taken away. */
  readonly added: readonly VniSettings[];
  readonly removed: readonly VniSettings[];
  /** Those that take a number, a device, an address or a MAC over. */
  readonly replacing: readonly VniSettings[];
  readonly changed: readonly VniDifference[];
}

/** How a VNI changes that stays. */
export interface VniDifference {
  readonly before: VniSettings;
  readonly after: VniSettings;
  /** Settings that differ; none when only peers do. */
  readonly fields: readonly (keyof OwnSettings)[];
  readonly peersRemoved: readonly PeerSettings[];
  readonly peersAdded: readonly PeerSettings[];
}

const FIELDS = Object.keys(standardSettings(0)) as (keyof OwnSettings)[];

/** VNIs that are made anew are among those removed and those replacing. */
export function difference(before: readonly VniSettings[], after: readonly VniSettings[]): Difference {
  const known = new Map(before.map((vni) => [vni.vni, vni]));
  const wanted = new Map(after.map((vni) => [vni.vni, vni]));
  const stays = ({ vni }: VniSettings) => {
    const [was, is] = [known.get(vni), wanted.get(vni)];
    return was !== undefined && is !== undefined && was.tap === is.tap && was.mac === is.mac;
  };
  const removed = before.filter((vni) => !stays(vni));
  const coming = after.filter((vni) => !stays(vni));
  const isReplacing = (vni: VniSettings) => removed.some((gone) => inheritsTap(vni, gone));
  return {
    added: coming.filter((vni) => !isReplacing(vni)),
    removed,
    replacing: coming.filter(isReplacing),
    changed: after
      .filter((vni) => stays(vni) && known.get(vni.vni) !== vni)
      .map((vni) => vniDifference(known.get(vni.vni)!, vni))
      .filter((one) => one.fields.length + one.peersRemoved.length + one.peersAdded.length > 0),
  };
}

/** A line for each change, for people: `vni 100: mtu`, `vni 100: peer 192.0.2.1 removed`. */
export function describe({ added, removed, replacing, changed }: Difference): string[] {
  const anew = new Set(replacing.map(({ vni }) => vni));
  const gone = new Set(removed.map(({ vni }) => vni));
  return [
    ...removed.filter(({ vni }) => !anew.has(vni)).map(({ vni }) => `vni ${vni}: removed`),
    ...[...added, ...replacing].map(({ vni }) => `vni ${vni}: ${gone.has(vni) ? 'made anew' : 'added'}`),
    ...changed.flatMap(describeVni),
  ];
}

/** Keys of the daemon's own settings that differ: they take effect at the next start. */
export function daemonDifference(before: Settings, after: Settings): string[] {
  return COMMON_KEYS.filter((key) => !isSame(before[key as keyof Settings], after[key as keyof Settings]));
}

function inheritsTap(vni: VniSettings, gone: VniSettings): boolean {
  return (
    vni.vni === gone.vni ||
    vni.tap === gone.tap ||
    vni.bridge === gone.tap ||
    (vni.mac !== '' && vni.mac === gone.mac) ||
    vni.addresses.some((address) => gone.addresses.includes(address))
  );
}

/** A thousand VNIs may have one list of a thousand peers: lists that are one object are not looked into. */
function vniDifference(before: VniSettings, after: VniSettings): VniDifference {
  const fields = FIELDS.filter((field) => !isSame(before[field], after[field]));
  if (before.peers === after.peers) return { before, after, fields, peersRemoved: [], peersAdded: [] };
  const had = new Map(before.peers.map((peer) => [peer.host, peer]));
  const has = new Map(after.peers.map((peer) => [peer.host, peer]));
  return {
    before,
    after,
    fields,
    peersRemoved: before.peers.filter((peer) => !isSamePeer(peer, has.get(peer.host))),
    peersAdded: after.peers.filter((peer) => !isSamePeer(peer, had.get(peer.host))),
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

function isSamePeer(one: PeerSettings, other: PeerSettings | undefined): boolean {
  return one === other || (one.port === other?.port && one.flood === other.flood);
}

/** Values of settings: words, numbers, lists and plain records of them. */
export function isSame(one: unknown, other: unknown): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
