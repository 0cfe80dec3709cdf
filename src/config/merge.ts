/**
 * Merge of the sources of configuration into effective settings.
 *
 * Precedence: flags over the file, a VNI's own settings over the settings for all VNIs, then the
 * defaults. VNIs and peers of the flags are added to those of the file; for a peer in both, the
 * flag wins. This is the only constructor of `Settings`; its result has passed every check and is
 * frozen.
 */
import { checkSettings, type MergedVni } from './check.js';
import { ConfigError } from './config-error.js';
import { type PeerText, peerSettings } from './peer.js';
import {
  COMMON_KEYS,
  defaultOf,
  type FieldsOf,
  fieldOf,
  type Key,
  type Scope,
  SETTINGS,
  type ValueOf,
  VNI_KEYS,
} from './schema.js';
import type { PeerSettings, Settings, VniSettings } from './settings.js';
import { type Given, Layer, nearest, type Source } from './source.js';

/**
 * @param sources sources in order of precedence: the command line, then the file
 * @param terminal true if the log goes to a terminal
 * @throws ConfigError when a combination of settings cannot work
 */
export function mergeSettings(sources: readonly Source[], terminal: boolean): Settings {
  const layers = sources.map((source) => source.all);
  const port = pick(layers, 'port');
  const peers = new PeerMerge(sources, port);
  const vnis = vniIds(sources).map((vni) => mergeVni(sources, vni, peers.of(vni)));
  const settings: Settings = {
    ...fields<'vtep' | 'program'>(layers, COMMON_KEYS),
    vnis: vnis.map((vni) => vni.settings),
    state: { path: pick(layers, 'state'), named: nearest(layers, 'state').length > 0 },
    kernelPath: kernelPathOf(layers),
    logFormat: nearest(layers, 'logFormat')[0]?.value ?? (terminal ? 'pretty' : 'json'),
  };
  checkSettings(settings, vnis, layers);
  return deepFreeze(settings);
}

/** `--flow-offload on`, of the previous version, means `--kernel-path on`. */
function kernelPathOf(layers: readonly Layer[]): ValueOf<'kernelPath'> {
  const isGiven = nearest(layers, 'kernelPath').length > 0;
  return !isGiven && pick(layers, 'flowOffload') ? 'on' : pick(layers, 'kernelPath');
}

function mergeVni(sources: readonly Source[], vni: number, peers: readonly PeerSettings[]): MergedVni {
  const layers = sources.flatMap((source) => [ownLayer(source, vni), source.all]);
  const own = fields<'vni'>(layers, VNI_KEYS);
  const settings: VniSettings = { ...own, vni, peers, tap: own.tap || `vtep${vni}` };
  GIVEN_KEYS.set(settings, new Set(VNI_KEYS.filter((key) => nearest(layers, key).length > 0)));
  return { settings, layers };
}

/** Keys of a VNI's settings that flags or file give; all other settings have their defaults. */
const GIVEN_KEYS = new WeakMap<VniSettings, ReadonlySet<string>>();

/** @param vni a VNI from the result of `mergeSettings` */
export function isGiven(vni: VniSettings, key: string): boolean {
  return GIVEN_KEYS.get(vni)?.has(key) === true;
}

/** Peers without a port of their own; they use the daemon's port. */
const NO_PORT_GIVEN = new WeakSet<PeerSettings>();

/**
 * Returns the VNIs. Peers without a port of their own get the daemon's current port, because a new
 * port takes effect only at the next start. Shared lists of peers remain shared.
 *
 * @param settings result of `mergeSettings`
 */
export function withPort({ vnis, port }: Settings, currentPort: number): readonly VniSettings[] {
  if (port === currentPort) return vnis;
  const shared = new Set(vnis.map(({ peers }) => peers));
  const lists = new Map(Array.from(shared, (peers) => [peers, peersWithPort(peers, currentPort)] as const));
  return vnis.map((vni) => {
    const moved = Object.freeze({ ...vni, peers: lists.get(vni.peers)! });
    GIVEN_KEYS.set(moved, GIVEN_KEYS.get(vni)!);
    return moved;
  });
}

function peersWithPort(peers: readonly PeerSettings[], port: number): readonly PeerSettings[] {
  return Object.freeze(
    peers.map((peer) => (NO_PORT_GIVEN.has(peer) ? Object.freeze({ ...peer, port }) : peer)),
  );
}

/** @throws ConfigError when no source gives a VNI or a list of VNIs */
export function requireVnis(settings: Settings, sources: readonly Source[]): void {
  if (settings.vnis.length > 0 || sources.some(({ listsVnis }) => listsVnis)) return;
  throw new ConfigError('--vni ID is required (0 to 16777215), or a "vnis:" list in --config FILE');
}

/** Returns the VNIs in the order in which they were given, VNIs of the file first. */
function vniIds(sources: readonly Source[]): number[] {
  const ids = [...sources].reverse().flatMap((source) => source.vnis.map((vni) => vni.id.value));
  return [...new Set(ids)];
}

function ownLayer(source: Source, vni: number): Layer {
  return source.vnis.find((candidate) => candidate.id.value === vni)?.own ?? new Layer();
}

/**
 * Peers of the VNIs. VNIs with the same peers share a list; a peer that is given once is one
 * object.
 */
class PeerMerge {
  readonly #sources: readonly Source[];
  readonly #port: number;
  readonly #resolved = new Map<Given<PeerText>, { number: number; settings: PeerSettings }>();
  /** Lists of peers by key. The key is the numbers of the peers (see `#resolve`) with commas. */
  readonly #lists = new Map<string, readonly PeerSettings[]>();

  constructor(sources: readonly Source[], port: number) {
    this.#sources = sources;
    this.#port = port;
  }

  of(vni: number): readonly PeerSettings[] {
    const own = mergePeers(this.#sources, vni).map((peer) => this.#resolve(peer));
    const key = own.map(({ number }) => number).join();
    const list = this.#lists.get(key) ?? own.map(({ settings }) => settings);
    this.#lists.set(key, list);
    return list;
  }

  #resolve(given: Given<PeerText>): { number: number; settings: PeerSettings } {
    const settings = () => settingsOf(given.value, this.#port);
    const known = this.#resolved.get(given) ?? { number: this.#resolved.size, settings: settings() };
    this.#resolved.set(given, known);
    return known;
  }
}

/**
 * Returns the peers of this VNI.
 *
 * @throws ConfigError when a source gives a peer twice, or when the VNI's own list has a peer with
 *   `vni=` of another VNI
 */
function mergePeers(sources: readonly Source[], vni: number): Given<PeerText>[] {
  const byHost = new Map<string, Given<PeerText>>();
  for (const source of [...sources].reverse()) {
    const own = ownLayer(source, vni).peers;
    refuseOtherVni(own, vni);
    const named = [...source.all.peers, ...own];
    const serving = named.filter((peer) => peer.value.vni === undefined || peer.value.vni === vni);
    refuseDuplicates(serving, vni);
    for (const peer of serving) byHost.set(peer.value.host, peer);
  }
  return [...byHost.values()];
}

/** Refuses `vni=` of another VNI in a VNI's own list of peers. */
function refuseOtherVni(own: readonly Given<PeerText>[], vni: number): void {
  for (const { place, text, value } of own) {
    if (value.vni === undefined || value.vni === vni) continue;
    throw new ConfigError(`${place} ${text}: is in the peer list of VNI ${vni}; remove vni=`);
  }
}

function refuseDuplicates(peers: readonly Given<PeerText>[], vni: number): void {
  const hosts = new Set<string>();
  for (const { place, text, value } of peers) {
    if (hosts.has(value.host))
      throw new ConfigError(`${place} ${text}: VNI ${vni} already has this peer; give it once`);
    hosts.add(value.host);
  }
}

function settingsOf(peer: PeerText, port: number): PeerSettings {
  const settings = peerSettings(peer, port);
  if (peer.port === undefined) NO_PORT_GIVEN.add(settings);
  return settings;
}

/** @param keys keys of scope S */
function fields<S extends Scope>(layers: readonly Layer[], keys: readonly Key[]): FieldsOf<S> {
  return Object.fromEntries(keys.map((key) => [fieldOf(key), pick(layers, key)])) as FieldsOf<S>;
}

/**
 * Returns the value of the first layer that gives the key, or the schema's default. A repeatable
 * setting has all values of that layer.
 */
function pick<K extends Key>(layers: readonly Layer[], key: K): ValueOf<K> {
  const given = nearest(layers, key).map(({ value }) => value);
  return (SETTINGS[key].repeatable ? given : (given[0] ?? defaultOf(key))) as ValueOf<K>;
}

function deepFreeze<T>(value: T): T {
  // A typed array cannot be frozen. IP addresses contain a typed array, which is never written to.
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value))
    return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
