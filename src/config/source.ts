/**
 * Values of one source of configuration: the command line, a file or an API body.
 *
 * Each value is parsed when it is added, and keeps its place (the flag, or file, line and key) for
 * messages. `merge.ts` merges the sources.
 */
import { ConfigError, ValueError } from './config-error.js';
import { makePeer, type PeerText, parsePeer } from './peer.js';
import { type Key, SETTINGS, type ValueOf } from './schema.js';
import { parseVni } from './values.js';

/** A value with its text and its place. */
export interface Given<T> {
  /** `--mtu`, or `vtepd.yaml:7: vnis[0].mtu`. */
  readonly place: string;
  readonly text: string;
  readonly value: T;
}

/** Settings and peers of one source for all VNIs, or for a single VNI. */
export class Layer {
  readonly peers: Given<PeerText>[] = [];
  readonly #settings = new Map<Key, Given<unknown>[]>();

  /**
   * @throws ConfigError when the value is not allowed, or a setting that is not repeatable is
   *   repeated
   */
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

  /** Adds a peer whose options are separate from its host, as in a YAML map. */
  addPeerOptions(place: string, host: string, options: ReadonlyMap<string, string>): void {
    this.peers.push(parseGiven(place, host, () => makePeer(host, options)));
  }

  /** Returns all values of a key in the order given. */
  given<K extends Key>(key: K): readonly Given<ValueOf<K>>[] {
    return (this.#settings.get(key) ?? []) as Given<ValueOf<K>>[];
  }
}

export class Source {
  /** Settings of the daemon and of every VNI. */
  readonly all = new Layer();
  /** True if the source has a list of VNIs; the list may be empty. */
  listsVnis = false;
  readonly vnis: { readonly id: Given<number>; readonly own: Layer }[] = [];

  /**
   * @returns the layer of this VNI's own settings
   * @throws ConfigError for a VNI that is given twice
   */
  addVni(place: string, text: string): Layer {
    const id = parseGiven(place, text, parseVni);
    if (this.vnis.some((vni) => vni.id.value === id.value)) {
      throw new ConfigError(`${place} ${text}: given twice; give each VNI once`);
    }
    const own = new Layer();
    this.vnis.push({ id, own });
    return own;
  }
}

/**
 * Returns the values of the first layer that gives the key.
 *
 * @param layers in order of precedence
 */
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

/** Puts quotation marks around empty text and text with white space. */
function quote(text: string): string {
  return text === '' || /\s/.test(text) ? `"${text}"` : text;
}
