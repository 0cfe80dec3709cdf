/**
 * State: the changes made through the API, as deviations from the configuration, and the MACs made
 * for TAPs.
 *
 * The configuration comes from flags and file. Effective settings are the configuration with the
 * deviations applied. Pure functions; `state-file.ts` stores the state, `edits.ts` changes it.
 *
 * Invariant: an API call stores a deviation only if the deviation differs from the configuration of
 * that moment. A later change of flags or file does not remove a stored deviation. A stored
 * deviation takes precedence over flags and file until an API call changes the setting back.
 */
import { isSame } from './diff.js';
import type { PeerSettings, Settings, VniSettings } from './settings.js';
import { keyOf, type OwnSettings } from './vni-words.js';

export interface State {
  readonly vnis: ReadonlyMap<number, VniDeviation>;
}

/** Deviations of one VNI from the configuration. */
export interface VniDeviation {
  /** Settings of a VNI that the API created; flags and file are ignored for this VNI. */
  readonly created: OwnSettings | undefined;
  readonly removed: boolean;
  readonly changed: Partial<OwnSettings>;
  /** Peers indexed by host; null: removed. */
  readonly peers: ReadonlyMap<string, PeerSettings | null>;
  /** MAC that was made for the TAP, which has no configured MAC; absent: none was made yet. */
  readonly mac?: string;
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

/**
 * Returns the effective settings: the configuration with the state applied. Unchanged VNIs and
 * lists of peers remain the same objects.
 */
export function applyState(base: Settings, state: State): Settings {
  if (state.vnis.size === 0) return base;
  const vnis = base.vnis.flatMap((vni) => {
    const deviation = state.vnis.get(vni.vni);
    if (deviation === undefined) return [vni];
    return deviation.removed || deviation.created ? [] : [deviate(vni, deviation)];
  });
  for (const [vni, deviation] of state.vnis) {
    const { created } = deviation;
    if (created) vnis.push(deviate(Object.freeze({ ...created, vni, peers: [] }), deviation));
  }
  return Object.freeze({ ...base, vnis: Object.freeze(vnis) });
}

/** Returns the static FDB entries of a VNI. */
export function entriesOf(state: State, vni: number): ReadonlyMap<string, string> {
  return (state.vnis.get(vni) ?? NO_DEVIATION).fdb;
}

/**
 * Describes each deviation that overrides the configuration, in one sentence.
 *
 * @param isGiven true if flags or file give this setting of a VNI
 */
export function contradictions(
  base: Settings,
  state: State,
  isGiven: (vni: VniSettings, key: string) => boolean,
): string[] {
  return base.vnis.flatMap((vni) => {
    const deviation = state.vnis.get(vni.vni);
    if (!deviation) return [];
    const name = `VNI ${vni.vni}`;
    if (deviation.removed) return [`${name} is configured, but was removed through the API`];
    if (deviation.created) return [`${name} is configured, but was created through the API`];
    const settings = (Object.keys(deviation.changed) as (keyof OwnSettings)[]).flatMap((field) => {
      const key = keyOf(field);
      const value = deviation.changed[field];
      if (!isGiven(vni, key) || isSame(value, vni[field])) return [];
      return [
        `${name}: ${key} is configured as ${text(vni[field])}, but was changed through the API to ${text(value)}`,
      ];
    });
    const peers = [...deviation.peers].flatMap(([host, peer]) => {
      const configured = vni.peers.find((other) => other.host === host);
      if (!configured || (peer && isSame(peer, configured))) return [];
      const action = peer ? 'changed' : 'removed';
      return [`${name}: peer ${host} is configured, but was ${action} through the API`];
    });
    return [...settings, ...peers];
  });
}

function deviate(vni: VniSettings, { changed, peers }: VniDeviation): VniSettings {
  if (peers.size === 0 && Object.keys(changed).length === 0) return vni;
  return Object.freeze({ ...vni, ...changed, peers: deviatePeers(vni.peers, peers) });
}

/** Returns the peers of the configuration in their order, then the peers added through the API. */
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
