/**
 * Conversion between a VNI's settings and the keys and values of the state file.
 *
 * Keys and values are those of the configuration file. A setting that is undefined has no key. The
 * value null is "none": it removes a bridge or MAC that the configuration gives.
 */
import { readSetting } from './file.js';
import { defaultOf, fieldOf, type Key, SETTINGS, VNI_KEYS } from './schema.js';
import type { VniSettings } from './settings.js';
import { Layer } from './source.js';
import type { Node, Tree } from './tree.js';

/** Settings of a VNI without its number and its peers. */
export type OwnSettings = Omit<VniSettings, 'vni' | 'peers'>;

/** Returns the field name in `OwnSettings` of a YAML key. */
export function ownField(key: Key): keyof OwnSettings {
  return fieldOf(key) as keyof OwnSettings;
}

/** Returns the YAML key of a field. */
export function keyOf(field: keyof OwnSettings): Key {
  return VNI_KEYS.find((key) => fieldOf(key) === field)!;
}

/** Returns the default settings of a VNI. */
export function defaultSettings(vni: number): OwnSettings {
  const defaults = VNI_KEYS.map((key) => [ownField(key), defaultOf(key)]);
  return { ...Object.fromEntries(defaults), tap: `vtep${vni}` };
}

/** Returns settings as keys and values for JSON. */
export function wordsOf(settings: Partial<OwnSettings>): Record<string, unknown> {
  const words: Record<string, unknown> = {};
  for (const key of VNI_KEYS) {
    const value = settings[ownField(key)];
    if (value !== undefined) words[key] = value === '' ? null : value;
  }
  return words;
}

/**
 * Reads settings from a map of keys and values.
 *
 * @param name name of the map in messages
 * @throws ConfigError for an unknown key or a value not allowed
 */
export function readWords(tree: Tree, node: Node, name: string): Partial<OwnSettings> {
  const settings: Partial<Record<keyof OwnSettings, unknown>> = {};
  for (const [word, value] of tree.entries(node, name, VNI_KEYS)) {
    const key = word as Key;
    const place = `${name}.${word}`;
    settings[ownField(key)] = tree.isNull(value)
      ? noneOf(tree, key, value, place)
      : settingValue(tree, key, value, place);
  }
  return settings as Partial<OwnSettings>;
}

function settingValue(tree: Tree, key: Key, value: Node, place: string): unknown {
  const layer = new Layer();
  readSetting(tree, layer, key, value, place);
  const given = layer.given(key).map((each) => each.value as unknown);
  return SETTINGS[key].repeatable ? given : given[0];
}

function noneOf(tree: Tree, key: Key, value: Node, place: string): '' {
  if (key === 'bridge' || key === 'mac') return '';
  throw tree.error(value, place, 'has no value');
}
