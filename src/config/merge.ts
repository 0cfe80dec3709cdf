/**
 * From what was said to what holds: flags over the file, a VNI's own settings over those for all, defaults below.
 * The one way to make a `Settings`; what it returns has passed every check and is frozen.
 *
 * Single values: the nearest one wins. VNIs and peers: those of the flags are added to the file's; a peer that both
 * name is as the flag says.
 */
import { checkSettings, type MergedVni } from './check.js';
import { ConfigError } from './config-error.js';
import type { PeerText } from './peer.js';
import {
  COMMON_KEYS,
  type FieldsOf,
  fieldOf,
  type Key,
  type Scope,
  SETTINGS,
  standardOf,
  type ValueOf,
  VNI_KEYS,
} from './schema.js';
import type { PeerSettings, Settings, VniSettings } from './settings.js';
import { type Given, Layer, nearest, type Source } from './source.js';

/**
 * @param sources nearest first: the command line, then the file
 * @param terminal people read the log
 * @throws ConfigError
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
    logFormat: nearest(layers, 'logFormat')[0]?.value ?? (terminal ? 'pretty' : 'json'),
  };
  checkSettings(settings, vnis, layers);
  return deepFreeze(settings);
}

function mergeVni(
  sources: readonly Source[],
  vni: number,
  { given: peers, settled: resolved }: MergedPeers,
): MergedVni {
  const layers = sources.flatMap((source) => [ownLayer(source, vni), source.all]);
  const own = fields<'vni'>(layers, VNI_KEYS);
  const settings: VniSettings = { ...own, vni, peers: resolved, tap: own.tap || `vtep${vni}` };
  GIVEN_KEYS.set(settings, new Set(VNI_KEYS.filter((key) => nearest(layers, key).length > 0)));
  return { settings, layers, peers };
}

/** Which settings of a VNI somebody gave, and did not leave to their defaults. */
const GIVEN_KEYS = new WeakMap<VniSettings, ReadonlySet<string>>();

/** @param vni of a `Settings` that was merged here */
export function isGiven(vni: VniSettings, key: string): boolean {
  return GIVEN_KEYS.get(vni)?.has(key) === true;
}

/** Peers of which nobody said a port, and that were given that of the daemon. */
const NO_PORT_GIVEN = new WeakSet<PeerSettings>();

/**
 * VNIs as they are while the daemon still has another port: it is that to which peers are sent that have none of their own.
 * Lists of peers that were shared still are. @param settings that were merged here
 */
export function withPort({ vnis, port }: Settings, standing: number): readonly VniSettings[] {
  if (port === standing) return vnis;
  const shared = new Set(vnis.map(({ peers }) => peers));
  const lists = new Map(Array.from(shared, (peers) => [peers, peersWithPort(peers, standing)] as const));
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

/** @throws ConfigError when nobody said which VNIs there are to be */
export function requireVnis(settings: Settings, sources: readonly Source[]): void {
  if (settings.vnis.length > 0 || sources.some(({ listsVnis }) => listsVnis)) return;
  throw new ConfigError('--vni ID is required (0 to 16777215), or a "vnis:" list in --config FILE');
}

/** VNIs in the order they were named, the file's first. */
function vniIds(sources: readonly Source[]): number[] {
  const ids = [...sources].reverse().flatMap((source) => source.vnis.map((vni) => vni.id.value));
  return [...new Set(ids)];
}

function ownLayer(source: Source, vni: number): Layer {
  return source.vnis.find((candidate) => candidate.id.value === vni)?.own ?? new Layer();
}

interface MergedPeers {
  readonly given: readonly Given<PeerText>[];
  readonly settled: readonly PeerSettings[];
}

/** Peers of VNIs. Those that have the same ones share a list, and a peer that was given once is one object. */
class PeerMerge {
  readonly #sources: readonly Source[];
  readonly #port: number;
  readonly #resolved = new Map<Given<PeerText>, { number: number; settings: PeerSettings }>();
  /** By the numbers of the peers. */
  readonly #lists = new Map<string, MergedPeers>();

  constructor(sources: readonly Source[], port: number) {
    this.#sources = sources;
    this.#port = port;
  }

  of(vni: number): MergedPeers {
    const given = mergePeers(this.#sources, vni);
    const own = given.map((peer) => this.#resolve(peer));
    const key = own.map(({ number }) => number).join();
    const list = this.#lists.get(key) ?? { given, settled: own.map(({ settings }) => settings) };
    this.#lists.set(key, list);
    return list;
  }

  #resolve(given: Given<PeerText>): { number: number; settings: PeerSettings } {
    const settings = () => peerSettings(given.value, this.#port);
    const known = this.#resolved.get(given) ?? { number: this.#resolved.size, settings: settings() };
    this.#resolved.set(given, known);
    return known;
  }
}

/** Peers that serve this VNI. @throws ConfigError when one source names the same one twice, or among a VNI's own one of another VNI */
function mergePeers(sources: readonly Source[], vni: number): Given<PeerText>[] {
  const byHost = new Map<string, Given<PeerText>>();
  for (const source of [...sources].reverse()) {
    const own = ownLayer(source, vni).peers;
    refuseStrangers(own, vni);
    const named = [...source.all.peers, ...own];
    const serving = named.filter((peer) => peer.value.vni === undefined || peer.value.vni === vni);
    refuseTwice(serving, vni);
    for (const peer of serving) byHost.set(peer.value.host, peer);
  }
  return [...byHost.values()];
}

/** A VNI's own peers serve this VNI. */
function refuseStrangers(own: readonly Given<PeerText>[], vni: number): void {
  for (const { place, text, value } of own) {
    if (value.vni === undefined || value.vni === vni) continue;
    throw new ConfigError(`${place} ${text}: stands among the peers of VNI ${vni}; leave vni= out`);
  }
}

function refuseTwice(peers: readonly Given<PeerText>[], vni: number): void {
  const hosts = new Set<string>();
  for (const { place, text, value } of peers) {
    if (hosts.has(value.host))
      throw new ConfigError(`${place} ${text}: VNI ${vni} has this peer already; name it once`);
    hosts.add(value.host);
  }
}

function peerSettings(peer: PeerText, port: number): PeerSettings {
  const settings = { host: peer.host, port: peer.port ?? port, flood: peer.flood ?? true };
  if (peer.port === undefined) NO_PORT_GIVEN.add(settings);
  return settings;
}

/** @param keys of that scope */
function fields<S extends Scope>(layers: readonly Layer[], keys: readonly Key[]): FieldsOf<S> {
  return Object.fromEntries(keys.map((key) => [fieldOf(key), pick(layers, key)])) as FieldsOf<S>;
}

/** The nearest value, or the schema's default; all values of the nearest source, of a repeatable one. */
function pick<K extends Key>(layers: readonly Layer[], key: K): ValueOf<K> {
  const given = nearest(layers, key).map(({ value }) => value);
  return (SETTINGS[key].repeatable ? given : (given[0] ?? standardOf(key))) as ValueOf<K>;
}

function deepFreeze<T>(value: T): T {
  // A view over bytes cannot be frozen; the addresses that hold one are never written to.
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value))
    return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
