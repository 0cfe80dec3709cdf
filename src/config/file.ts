/**
 * The YAML file of `--config`: settings for all on top, `vnis:` a list with `vni`, its own settings and `peers:`.
 *
 *     port: 4789
 *     peers: [192.0.2.11]             # serves every VNI
 *     vnis:
 *       - vni: 100
 *         bridge: br-vxlan
 *         peers:
 *           - 192.0.2.12,flood=off    # the flag's form
 *           - { address: 2001:db8::12, port: 8472, flood: off }
 *
 * YAML 1.2. Values are taken as they are written (`off` is a word, `010` is not 8); the schema's parsers judge them,
 * so file and flags cannot differ. Every message names file, line and key.
 */
import { readFileSync } from 'node:fs';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLMap,
} from 'yaml';
import { ConfigError } from './config-error.js';
import { suggestion } from './nearest.js';
import { KEYS, type Key, SETTINGS, VNI_KEYS } from './schema.js';
import { type Layer, Source } from './source.js';

const TOP_KEYS = [...KEYS, 'peers', 'vnis'];
const OWN_KEYS = ['vni', ...VNI_KEYS, 'peers'];
const PEER_KEYS = ['address', 'port', 'flood'];

/** @throws ConfigError for a file that cannot be read, is no YAML, or says what is not allowed */
export function readConfigFile(path: string): Source {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const [cause] = (error as Error).message.split(',');
    throw new ConfigError(`--config ${path}: cannot be read (${cause}); name a readable YAML file`);
  }
  return parseConfig(text, path);
}

/** @param path what messages call the file */
export function parseConfig(text: string, path: string): Source {
  return new FileReader(text, path).read();
}

/** One file being read: the document, and how its messages name places. */
class FileReader {
  readonly #path: string;
  readonly #lines = new LineCounter();
  readonly #document: Document.Parsed;
  readonly #source = new Source();

  constructor(text: string, path: string) {
    this.#path = path;
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
  }

  read(): Source {
    const broken = this.#document.errors[0];
    if (broken) {
      const line = this.#lines.linePos(broken.pos[0]).line;
      throw new ConfigError(`${this.#path}:${line}: not valid YAML: ${broken.message.split('\n')[0]}`);
    }
    const root = this.#document.contents;
    if (root !== null) this.#readTop(root);
    return this.#source;
  }

  #readTop(root: Node): void {
    for (const [key, value] of this.#entries(root, '', TOP_KEYS)) {
      if (key === 'vnis') {
        for (const [place, item] of this.#items(value, 'vnis')) this.#readVni(item, place);
      } else {
        this.#readInto(this.#source.all, key, value, '');
      }
    }
  }

  #readVni(node: Node, place: string): void {
    const entries = this.#entries(node, place, OWN_KEYS);
    const id = entries.find(([key]) => key === 'vni');
    if (id === undefined) throw this.#error(node, place, 'has no "vni:"; name the VNI, 0 to 16777215');
    const own = this.#source.addVni(this.#place(id[1], `${place}.vni`), this.#text(id[1], `${place}.vni`));
    for (const [key, value] of entries) {
      if (key !== 'vni') this.#readInto(own, key, value, `${place}.`);
    }
  }

  #readInto(layer: Layer, key: string, value: Node, prefix: string): void {
    const name = prefix + key;
    if (key === 'peers') {
      for (const [place, item] of this.#items(value, name)) this.#readPeer(layer, item, place);
    } else if (SETTINGS[key as Key].repeatable && isSeq(value)) {
      for (const [place, item] of this.#items(value, name)) this.#readSetting(layer, key as Key, item, place);
    } else {
      this.#readSetting(layer, key as Key, value, name);
    }
  }

  #readSetting(layer: Layer, key: Key, value: Node, name: string): void {
    layer.add(key, this.#place(value, name), this.#text(value, name));
  }

  #readPeer(layer: Layer, node: Node, name: string): void {
    if (!isMap(node)) {
      layer.addPeer(this.#place(node, name), this.#text(node, name));
      return;
    }
    const entries = this.#entries(node, name, PEER_KEYS);
    const options = new Map(entries.map(([key, value]) => [key, this.#text(value, `${name}.${key}`)]));
    const address = options.get('address');
    options.delete('address');
    if (address === undefined) throw this.#error(node, name, 'has no "address:"; name the remote VTEP');
    layer.addPeerOptions(this.#place(node, name), address, options);
  }

  /** Keys and values of a map. @throws ConfigError for a key that is not known there */
  #entries(node: Node, name: string, known: readonly string[]): [string, Node][] {
    if (!isMap(node)) throw this.#error(node, name || 'the file', 'must be a map of "key: value" lines');
    return (node as YAMLMap<Node, Node | null>).items.map(({ key, value }) => {
      const word = isScalar(key) ? String(key.value) : String(key);
      const where = name === '' ? word : `${name}.${word}`;
      if (!known.includes(word)) {
        const cure = suggestion(word, known) || `; known are ${known.join(', ')}`;
        throw this.#error(key, where, `unknown key${cure}`);
      }
      if (value === null) throw this.#error(key, where, 'has no value');
      return [word, this.#resolve(value)];
    });
  }

  /** Items of a list with their names: `vnis[0]`. */
  #items(node: Node, name: string): [string, Node][] {
    if (!isSeq(node))
      throw this.#error(node, name, 'must be a list, each item on a line of its own after "- "');
    return node.items.map((item, index) => [`${name}[${index}]`, this.#resolve(item as Node)]);
  }

  /** A plain value as it was written; of a quoted one what the quotes hold. */
  #text(node: Node, name: string): string {
    if (!isScalar(node)) throw this.#error(node, name, 'must be a single value');
    if (node.value === null) throw this.#error(node, name, 'has no value');
    return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value));
  }

  #resolve(node: Node): Node {
    return isAlias(node) ? (node.resolve(this.#document) ?? node) : node;
  }

  #place(node: Node, name: string): string {
    return `${this.#path}:${this.#lines.linePos(node.range?.[0] ?? 0).line}: ${name}`;
  }

  #error(node: Node, name: string, sentence: string): ConfigError {
    return new ConfigError(`${this.#place(node, name)}: ${sentence}`);
  }
}
