/**
 * Parser for the JSON bodies of the control API.
 *
 * A body is a source of configuration like the command line and the file: it has the keys of the
 * file, and its values and their combinations pass the same checks. JSON `true`, `false` and
 * numbers are converted to text, because the parsers of the file read text.
 *
 * A setting that a body omits has the schema's default. The value that flags or file give for all
 * VNIs does not apply, so the same body creates the same VNI on every host. No I/O; the API calls
 * this module.
 */
import { ConfigError } from './config-error.js';
import { mergeSettings } from './merge.js';
import { peerSettings } from './peer.js';
import { type Key, SETTINGS, VNI_KEYS } from './schema.js';
import type { PeerSettings, VniSettings } from './settings.js';
import { Layer, Source } from './source.js';
import { ownField } from './vni-words.js';

/** A JSON object whose keys have been checked. */
export type Body = Readonly<Record<string, unknown>>;

/**
 * Reads a whole VNI: `vni`, its settings, and `peers` as in the file. A setting that is null
 * has its default.
 *
 * @param port UDP port of peers that have no port of their own
 * @throws ConfigError when a value or a combination is not allowed
 */
export function readVniBody(body: Body, port: number): VniSettings {
  const source = new Source();
  source.all.add('port', 'port', String(port));
  const own = source.addVni('vni', textOf('vni', body.vni));
  for (const key of VNI_KEYS) addSetting(own, key, body[key]);
  for (const [index, peer] of listOf('peers', body.peers).entries()) addPeer(own, `peers[${index}]`, peer);
  return mergeSettings([source], false).vnis[0];
}

/**
 * Reads the changes to a VNI. A setting that is null is reset to its default.
 *
 * @throws ConfigError when a value is not allowed
 */
export function readVniChanges(vni: number, body: Body): Partial<VniSettings> {
  const read = readVniBody({ ...body, vni }, 1);
  const changed = VNI_KEYS.filter((key) => body[key] !== undefined).map(ownField);
  return Object.fromEntries(changed.map((field) => [field, read[field]]));
}

/**
 * Reads a peer: `address`, `port`, `flood`, `all`.
 *
 * @param port UDP port if the body has no `port`
 * @throws ConfigError when a value is not allowed
 */
export function readPeerBody(body: Body, port: number): PeerSettings {
  const layer = new Layer();
  addPeer(layer, 'address', body);
  const [{ value }] = layer.peers;
  return peerSettings(value, port);
}

function addSetting(layer: Layer, key: Key, value: unknown): void {
  if (value === undefined || value === null) return;
  const items = SETTINGS[key].repeatable && Array.isArray(value) ? value : [value];
  for (const item of items) layer.add(key, key, textOf(key, item));
}

/** Adds a peer that is given as text in the form of `--peer`, or as a map. */
function addPeer(layer: Layer, place: string, peer: unknown): void {
  if (typeof peer === 'string') {
    layer.addPeer(place, peer);
    return;
  }
  const { address, ...rest } = peer as Body;
  const given = Object.entries(rest).filter(([, value]) => value !== null);
  const options = given.map(([name, value]): [string, string] => [name, textOf(`${place}.${name}`, value)]);
  layer.addPeerOptions(place, textOf(`${place}.address`, address), new Map(options));
}

function listOf(place: string, value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw new ConfigError(`${place} ${JSON.stringify(value)}: must be a list`);
}

/** Returns a value as it would be written in the file. */
function textOf(place: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new ConfigError(`${place} ${JSON.stringify(value) ?? 'nothing'}: must be a single value`);
}
