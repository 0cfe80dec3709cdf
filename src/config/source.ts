/**
 * What one source of configuration (the command line, or the file) said, value by value, each parsed at once and
 * with the place where it stood. `merge.ts` lays sources over each other; messages quote the places.
 */
import { ConfigError, ValueError } from './config-error.js';
import { makePeer, type PeerText, parsePeer } from './peer.js';
import { type Key, SETTINGS, type ValueOf } from './schema.js';
import { parseVni } from './values.js';

/** One value as somebody wrote it. */
export interface Given<T> {
  /** Where: `--mtu`, or `vtepd.yaml:7: vnis[0].mtu`. */
  readonly place: string;
  readonly text: string;
  readonly value: T;
}

/** Settings and peers that were said together: for all VNIs, or for one. */
export class Layer {
  readonly peers: Given<PeerText>[] = [];
  readonly #settings = new Map<Key, Given<unknown>[]>();

  /** @throws ConfigError when the value is not allowed, or a second one comes where one is allowed */
  add(key: Key, place: string, text: string): void {
    const given = this.#settings.get(key) ?? [];
    if (given.length > 0 && !SETTINGS[key].repeatable) {
      throw new ConfigError(`${place} ${text}: given twice, first ${quote(given[0].text)}; give it once`);
    }
    this.#settings.set(key, [...given, parseGiven<unknown>(place, text, SETTINGS[key].parse)]);
  }

  addPeer(place: string, text: string): void {
    this.peers.push(parseGiven(place, text, parsePeer));
  }

  /** A peer whose options stand apart from its host, as a map in YAML has them. */
  addPeerOptions(place: string, host: string, options: ReadonlyMap<string, string>): void {
    this.peers.push(parseGiven(place, host, () => makePeer(host, options)));
  }

  /** All that was given for a key, in order; empty when nothing was. */
  given<K extends Key>(key: K): readonly Given<ValueOf<K>>[] {
    return (this.#settings.get(key) ?? []) as Given<ValueOf<K>>[];
  }
}

export class Source {
  /** For the daemon and for every VNI. */
  readonly all = new Layer();
  /** Says which VNIs there are, were it none. */
  listsVnis = false;
  readonly vnis: { readonly id: Given<number>; readonly own: Layer }[] = [];

  /** @returns the layer for what is said of this VNI alone. @throws ConfigError for a second one of the same number */
  addVni(place: string, text: string): Layer {
    const id = parseGiven(place, text, parseVni);
    if (this.vnis.some((vni) => vni.id.value === id.value)) {
      throw new ConfigError(`${place} ${text}: given twice; a VNI is named once`);
    }
    const own = new Layer();
    this.vnis.push({ id, own });
    return own;
  }
}

/** What was given for a key where it was given nearest. @param layers nearest first */
export function nearest<K extends Key>(layers: readonly Layer[], key: K): readonly Given<ValueOf<K>>[] {
  return layers.map((layer) => layer.given(key)).find((given) => given.length > 0) ?? [];
}

function parseGiven<T>(place: string, text: string, parse: (text: string) => T): Given<T> {
  try {
    return { place, text, value: parse(text) };
  } catch (error) {
    if (error instanceof ValueError) throw new ConfigError(`${place} ${quote(text)}: ${error.message}`);
    throw error;
  }
}

/** As it was written, but visible where it begins and ends when that would not be clear. */
function quote(text: string): string {
  return text === '' || /\s/.test(text) ? `"${text}"` : text;
}
