/**
 * What was changed through the API, as deviations from the configuration of flags and file, item by item; and what holds
 * when they are laid over it. Pure: kept by `state-file.ts`, changed by `edits.ts`.
 *
 * Invariant: an item stands here only while it says something else than the configuration did when it was made. What
 * the configuration says later does not remove it: the API beats flags and file until it is changed back.
 */
import { isSame } from './diff.js';
import type { PeerSettings, Settings, VniSettings } from './settings.js';
import { keyOf, type OwnSettings } from './vni-words.js';

export interface State {
  readonly vnis: ReadonlyMap<number, VniDeviation>;
}

/** How one VNI is not as the configuration says. */
export interface VniDeviation {
  /** The API made it: whatever the configuration says of such a VNI does not count. */
  readonly created: OwnSettings | undefined;
  readonly removed: boolean;
  readonly changed: Partial<OwnSettings>;
  /** By host; null: removed. */
  readonly peers: ReadonlyMap<string, PeerSettings | null>;
  /** Static entries: MAC → address of a peer, both canonical text. */
  readonly fdb: ReadonlyMap<string, string>;
}

export const NO_STATE: State = { vnis: new Map() };
export const NO_DEVIATION: VniDeviation = {
  created: undefined,
  removed: false,
  changed: {},
  peers: new Map(),
  fdb: new Map(),
};

/** What holds: the configuration with the state over it. VNIs and lists of peers that nobody changed are the same objects. */
export function applyState(base: Settings, state: State): Settings {
  if (state.vnis.size === 0) return base;
  const vnis = base.vnis.flatMap((vni) => {
    const deviation = state.vnis.get(vni.vni);
    if (deviation === undefined) return [vni];
    return deviation.removed || deviation.created ? [] : [deviate(vni, deviation)];
  });
  for (const [vni, deviation] of state.vnis) {
    const { created } = deviation;
    if (created) vnis.push(deviate({ ...created, vni, peers: [] }, deviation));
  }
  return Object.freeze({ ...base, vnis: Object.freeze(vnis) });
}

/** Static entries of a VNI. */
export function entriesOf(state: State, vni: number): ReadonlyMap<string, string> {
  return (state.vnis.get(vni) ?? NO_DEVIATION).fdb;
}

/**
 * Where the state contradicts what the configuration says: one sentence an item.
 * @param says whether flags or file speak of this setting of a VNI
 */
export function contradictions(
  base: Settings,
  state: State,
  says: (vni: VniSettings, key: string) => boolean,
): string[] {
  return base.vnis.flatMap((vni) => {
    const deviation = state.vnis.get(vni.vni);
    if (!deviation) return [];
    const of = `VNI ${vni.vni}`;
    if (deviation.removed) return [`${of} is configured, and was removed through the API`];
    if (deviation.created) return [`${of} is configured, and was made anew through the API`];
    const settings = (Object.keys(deviation.changed) as (keyof OwnSettings)[]).flatMap((field) => {
      const key = keyOf(field);
      const value = deviation.changed[field];
      if (!says(vni, key) || isSame(value, vni[field])) return [];
      return [
        `${of}: ${key} is configured as ${text(vni[field])}, and was changed through the API to ${text(value)}`,
      ];
    });
    const peers = [...deviation.peers].flatMap(([host, peer]) => {
      const configured = vni.peers.find((other) => other.host === host);
      if (!configured || (peer && isSame(peer, configured))) return [];
      const what = peer ? 'changed' : 'removed';
      return [`${of}: peer ${host} is configured, and was ${what} through the API`];
    });
    return [...settings, ...peers];
  });
}

function deviate(vni: VniSettings, { changed, peers }: VniDeviation): VniSettings {
  return Object.freeze({ ...vni, ...changed, peers: deviatePeers(vni.peers, peers) });
}

/** Those of the configuration in their order, then those of the API. */
function deviatePeers(
  configured: readonly PeerSettings[],
  deviations: ReadonlyMap<string, PeerSettings | null>,
): readonly PeerSettings[] {
  if (deviations.size === 0) return configured;
  const byHost = new Map<string, PeerSettings | null>(configured.map((peer) => [peer.host, peer]));
  for (const [host, peer] of deviations) byHost.set(host, peer);
  return Object.freeze([...byHost.values()].filter((peer) => peer !== null));
}

function text(value: unknown): string {
  return value === '' ? 'none' : typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
}
