/**
 * Changes that API calls make to the state. Pure functions from state to state.
 *
 * A deviation that becomes equal to the configuration ("changed back") is removed from the state.
 */
import { isSame } from './diff.js';
import type { PeerSettings, Settings, VniSettings } from './settings.js';
import { NO_DEVIATION, type State, type VniDeviation } from './state.js';
import type { OwnSettings } from './vni-words.js';

export function withVni(state: State, { vni, peers, ...created }: VniSettings): State {
  const own = new Map(peers.map((peer) => [peer.host, peer]));
  return put(state, vni, { ...NO_DEVIATION, created, peers: own });
}

export function withoutVni(base: Settings, state: State, vni: number): State {
  return put(state, vni, { ...NO_DEVIATION, removed: find(base, vni) !== undefined });
}

/** @param changes settings that differ from the effective settings */
export function withChanges(base: Settings, state: State, vni: number, changes: Partial<OwnSettings>): State {
  const before = deviationOf(state, vni);
  if (before.created) return put(state, vni, { ...before, created: { ...before.created, ...changes } });
  const configured = find(base, vni)!;
  const changed = Object.entries({ ...before.changed, ...changes }).filter(
    ([field, value]) => !isSame(value, configured[field as keyof OwnSettings]),
  );
  return put(state, vni, { ...before, changed: Object.fromEntries(changed) });
}

export function withPeer(base: Settings, state: State, vni: number, peer: PeerSettings): State {
  const before = deviationOf(state, vni);
  const peers = new Map(before.peers);
  if (isSame(configuredPeer(base, before, vni, peer.host), peer)) peers.delete(peer.host);
  else peers.set(peer.host, peer);
  return put(state, vni, { ...before, peers });
}

/** @param addresses addresses of the peer; static FDB entries with such an address are removed */
export function withoutPeer(
  base: Settings,
  state: State,
  vni: number,
  host: string,
  addresses: ReadonlySet<string>,
): State {
  const before = deviationOf(state, vni);
  const peers = new Map(before.peers);
  if (configuredPeer(base, before, vni, host)) peers.set(host, null);
  else peers.delete(host);
  const fdb = new Map([...before.fdb].filter(([, peer]) => !addresses.has(peer)));
  return put(state, vni, { ...before, peers, fdb });
}

export function withEntry(state: State, vni: number, mac: string, peer: string): State {
  const before = deviationOf(state, vni);
  return put(state, vni, { ...before, fdb: new Map(before.fdb).set(mac, peer) });
}

/**
 * @param isRemoved predicate of the static entries to remove; if no entry matches, the function
 *   returns the same state object
 */
export function withoutEntries(
  state: State,
  vni: number,
  isRemoved: (mac: string, peer: string) => boolean,
): State {
  const before = deviationOf(state, vni);
  const fdb = new Map([...before.fdb].filter(([mac, peer]) => !isRemoved(mac, peer)));
  return fdb.size === before.fdb.size ? state : put(state, vni, { ...before, fdb });
}

/**
 * Gives each VNI without a configured MAC one that is kept, and forgets the MACs of the others.
 *
 * @returns the same state object when nothing changes
 */
export function withMacs(state: State, vnis: readonly VniSettings[], makeMac: () => string): State {
  const wrong = vnis.filter(({ vni, mac }) => (mac === '') !== (deviationOf(state, vni).mac !== undefined));
  if (wrong.length === 0) return state;
  const deviations = new Map(state.vnis);
  for (const { vni, mac } of wrong) {
    const { mac: _, ...deviation } = deviationOf(state, vni);
    const next = mac === '' ? { ...deviation, mac: makeMac() } : deviation;
    if (isEmptyDeviation(next)) deviations.delete(vni);
    else deviations.set(vni, next);
  }
  return { vnis: deviations };
}

function put(state: State, vni: number, deviation: VniDeviation): State {
  const vnis = new Map(state.vnis);
  if (isEmptyDeviation(deviation)) vnis.delete(vni);
  else vnis.set(vni, deviation);
  return { vnis };
}

function isEmptyDeviation({ created, removed, changed, peers, mac, fdb }: VniDeviation): boolean {
  const isUnchanged = !created && !removed && Object.keys(changed).length === 0;
  return isUnchanged && peers.size === 0 && mac === undefined && fdb.size === 0;
}

function deviationOf(state: State, vni: number): VniDeviation {
  return state.vnis.get(vni) ?? NO_DEVIATION;
}

function find(base: Settings, vni: number): VniSettings | undefined {
  return base.vnis.find((configured) => configured.vni === vni);
}

/** Returns a peer of the configuration; undefined for a VNI that the API created. */
function configuredPeer(
  base: Settings,
  { created }: VniDeviation,
  vni: number,
  host: string,
): PeerSettings | undefined {
  return created ? undefined : find(base, vni)?.peers.find((peer) => peer.host === host);
}
