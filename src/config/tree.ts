/**
 * Tree of maps, lists and scalars with their positions, from YAML, JSON or an object.
 *
 * The configuration file, the state file and the library options are read through this tree.
 * Scalars remain text as written (`off` is a word, `010` is not 8); the schema's parsers validate
 * them, so all sources follow the same rules. Every message names the place:
 * `vtepd.yaml:7: vnis[0].mtu`.
 */
import { createRequire } from 'node:module';
import type { Document, LineCounter, Node, YAMLMap } from 'yaml';
import { ConfigError } from './config-error.js';
import { suggestion } from './nearest.js';

export type { Node } from 'yaml';

let loaded: typeof import('yaml') | undefined;

/**
 * Loads the YAML parser on first use, because the parser would be 10 % of the code loaded at start,
 * and flags do not need the parser.
 */
function yaml(): typeof import('yaml') {
  loaded ??= createRequire(import.meta.url)('yaml') as typeof import('yaml');
  return loaded;
}

/** Maximum nesting of maps and lists; far more than a configuration or state needs. */
const DEPTH_MAX = 100;
/** Matches a line whose indicators (`- - -`) or indentation alone give too many levels. */
const DEEP_LINE = new RegExp(`^(?:\\s*[-?:]\\s){${DEPTH_MAX}}|^ {${10 * DEPTH_MAX}}`, 'm');

/**
 * Refuses deeply nested text, because the parser recurses for each level, and about 10,000 levels
 * abort the process.
 *
 * @throws ConfigError when the text has more than `DEPTH_MAX` levels
 */
function refuseDeep(text: string, path: string): void {
  let depth = 0;
  for (let at = 0; at < text.length && depth <= DEPTH_MAX; at++) {
    const character = text[at];
    if (character === '[' || character === '{') depth++;
    else if ((character === ']' || character === '}') && depth > 0) depth--;
  }
  if (depth > DEPTH_MAX || DEEP_LINE.test(text))
    throw new ConfigError(
      `${path}:1: maps and lists are nested too deeply; the limit is ${DEPTH_MAX} levels`,
    );
}

export class Tree {
  readonly #document: Document;
  /** File name; '' for an object, which has no lines. */
  readonly #path: string;
  readonly #lines: LineCounter;

  private constructor(document: Document, path: string, lines: LineCounter) {
    this.#document = document;
    this.#path = path;
    this.#lines = lines;
  }

  /** @param path file name for messages @throws ConfigError when the text is not YAML */
  static parse(text: string, path: string): Tree {
    const lines = new (yaml().LineCounter)();
    refuseDeep(text, path);
    const document = yaml().parseDocument(text, { lineCounter: lines, prettyErrors: false });
    const broken = document.errors[0];
    if (broken === undefined) return new Tree(document, path, lines);
    const { line } = lines.linePos(broken.pos[0]);
    throw new ConfigError(`${path}:${line}: not valid YAML: ${broken.message.split('\n')[0]}`);
  }

  /** Makes a tree of a plain object; undefined fields count as omitted. */
  static of(value: object): Tree {
    return new Tree(new (yaml().Document)(value), '', new (yaml().LineCounter)());
  }

  /** Root node; null for an empty text. */
  get root(): Node | null {
    return this.#document.contents;
  }

  /**
   * Returns the keys and values of a map.
   *
   * @param known allowed keys; undefined allows every key
   * @throws ConfigError for a node that is not a map, an unknown key or a missing value
   */
  entries(node: Node, name: string, known?: readonly string[]): [string, Node][] {
    if (!yaml().isMap(node))
      throw this.error(node, name || 'the file', 'must be a map of "key: value" lines');
    return (node as YAMLMap<Node, Node | null>).items.map(({ key, value }) => {
      const word = yaml().isScalar(key) ? String(key.value) : String(key);
      const where = name === '' ? word : `${name}.${word}`;
      if (known !== undefined && !known.includes(word)) {
        const cure = suggestion(word, known) || `; known keys: ${known.join(', ')}`;
        throw this.error(key, where, `unknown key${cure}`);
      }
      if (value === null) throw this.error(key, where, 'has no value');
      return [word, this.#resolve(value)];
    });
  }

  /**
   * Returns the items of a list with their names: `vnis[0]`.
   *
   * @throws ConfigError for a node that is not a list
   */
  items(node: Node, name: string): [string, Node][] {
    if (!yaml().isSeq(node))
      throw this.error(node, name, 'must be a list, each item on a line of its own after "- "');
    return node.items.map((item, index) => [`${name}[${index}]`, this.#resolve(item as Node)]);
  }

  isMap(node: Node): boolean {
    return yaml().isMap(node);
  }

  isList(node: Node): boolean {
    return yaml().isSeq(node);
  }

  isNull(node: Node): boolean {
    return yaml().isScalar(node) && node.value === null;
  }

  /**
   * Returns a scalar as written, without quotation marks.
   *
   * @throws ConfigError for a map, a list or null
   */
  text(node: Node, name: string): string {
    if (!yaml().isScalar(node)) throw this.error(node, name, 'must be a single value');
    if (node.value === null) throw this.error(node, name, 'has no value');
    return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value));
  }

  place(node: Node, name: string): string {
    if (this.#path === '') return name;
    return `${this.#path}:${this.#lines.linePos(node.range?.[0] ?? 0).line}: ${name}`;
  }

  error(node: Node, name: string, sentence: string): ConfigError {
    return new ConfigError(`${this.place(node, name)}: ${sentence}`);
  }

  #resolve(node: Node): Node {
    return yaml().isAlias(node) ? (node.resolve(this.#document) ?? node) : node;
  }
}
