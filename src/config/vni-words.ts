/**
 * The settings of one VNI as the words of the file, and back: how the state file keeps them. What is not said is absent;
 * null says "none" of a name or MAC that would otherwise be there.
 */
import { readSetting } from './file.js';
import { fieldOf, type Key, SETTINGS, standardOf, VNI_KEYS } from './schema.js';
import type { VniSettings } from './settings.js';
import { Layer } from './source.js';
import type { Node, Tree } from './tree.js';

/** Settings of a VNI by themselves: what it is called and whom it has are said elsewhere. */
export type OwnSettings = Omit<VniSettings, 'vni' | 'peers'>;

/** Field of a setting of VNIs. */
export function ownField(key: Key): keyof OwnSettings {
  return fieldOf(key) as keyof OwnSettings;
}

/** Field of the settings → key of the file. */
export function keyOf(field: keyof OwnSettings): Key {
  return VNI_KEYS.find((key) => fieldOf(key) === field)!;
}

/** What a VNI has of which nothing is said. */
export function standardSettings(vni: number): OwnSettings {
  const standards = VNI_KEYS.map((key) => [ownField(key), standardOf(key)]);
  return { ...Object.fromEntries(standards), tap: `vtep${vni}` };
}

/** Words for JSON. */
export function wordsOf(settings: Partial<OwnSettings>): Record<string, unknown> {
  const words: Record<string, unknown> = {};
  for (const key of VNI_KEYS) {
    const value = settings[ownField(key)];
    if (value !== undefined) words[key] = value === '' ? null : value;
  }
  return words;
}

/** @param node a map of such words @param name of it in messages @throws ConfigError */
export function readWords(tree: Tree, node: Node, name: string): Partial<OwnSettings> {
  const settings: Partial<Record<keyof OwnSettings, unknown>> = {};
  for (const [word, value] of tree.entries(node, name, VNI_KEYS)) {
    const key = word as Key;
    const place = `${name}.${word}`;
    settings[ownField(key)] = tree.isNull(value)
      ? noneOf(tree, key, value, place)
      : one(tree, key, value, place);
  }
  return settings as Partial<OwnSettings>;
}

function one(tree: Tree, key: Key, value: Node, place: string): unknown {
  const layer = new Layer();
  readSetting(tree, layer, key, value, place);
  const given = layer.given(key).map((each) => each.value as unknown);
  return SETTINGS[key].repeatable ? given : given[0];
}

function noneOf(tree: Tree, key: Key, value: Node, place: string): '' {
  if (key === 'bridge' || key === 'mac') return '';
  throw tree.error(value, place, 'has no value');
}
