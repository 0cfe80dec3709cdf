/**
 * What a body of the control API says, read as a source of configuration like the command line and the file: the keys
 * are those of the file, the values go through the same parsers, and so do the combinations. JSON's own `true`, `false`
 * and numbers stand for the words that they are written as.
 *
 * What a body does not say has its default, not what the flags say for all VNIs: the same body makes the same VNI
 * everywhere. No I/O; the API calls it.
 */
import { ConfigError } from './config-error.js';
import { mergeSettings } from './merge.js';
import type { PeerText } from './peer.js';
import { type Key, SETTINGS, VNI_KEYS } from './schema.js';
import type { PeerSettings, VniSettings } from './settings.js';
import { Layer, Source } from './source.js';
import { ownField } from './vni-words.js';

/** A JSON object whose keys are known to be allowed there. */
export type Body = Readonly<Record<string, unknown>>;

/**
 * A VNI as a body describes it: `vni`, its settings, `peers` as in the file. null stands for the default.
 *
 * @param port of peers that say none
 * @throws ConfigError
 */
export function readVniBody(body: Body, port: number): VniSettings {
  const source = new Source();
  source.all.add('port', 'port', String(port));
  const own = source.addVni('vni', textOf('vni', body.vni));
  for (const key of VNI_KEYS) addSetting(own, key, body[key]);
  for (const [index, peer] of listOf('peers', body.peers).entries()) addPeer(own, `peers[${index}]`, peer);
  return mergeSettings([source], false).vnis[0];
}

/** What a body changes of a VNI; a setting that is null gets its default back. @throws ConfigError */
export function readVniChanges(vni: number, body: Body): Partial<VniSettings> {
  const read = readVniBody({ ...body, vni }, 1);
  const changed = VNI_KEYS.filter((key) => body[key] !== undefined).map(ownField);
  return Object.fromEntries(changed.map((field) => [field, read[field]]));
}

/** A peer: `address`, `port`, `flood`. @param port when the body says none @throws ConfigError */
export function readPeerBody(body: Body, port: number): PeerSettings {
  const layer = new Layer();
  addPeer(layer, 'address', body);
  const [{ value }] = layer.peers;
  return withDefaults(value, port);
}

function addSetting(layer: Layer, key: Key, value: unknown): void {
  if (value === undefined || value === null) return;
  const items = SETTINGS[key].repeatable && Array.isArray(value) ? value : [value];
  for (const item of items) layer.add(key, key, textOf(key, item));
}

/** The flag's form, or a map. */
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

function withDefaults({ host, port, flood }: PeerText, standard: number): PeerSettings {
  return { host, port: port ?? standard, flood: flood ?? true };
}

function listOf(place: string, value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw new ConfigError(`${place} ${JSON.stringify(value)}: must be a list`);
}

/** As it would have been written in the file. */
function textOf(place: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new ConfigError(`${place} ${JSON.stringify(value) ?? 'nothing'}: must be a single value`);
}
