/**
 * A text of YAML (JSON is one) or a value of a program, as maps, lists and words that know where they stand: what file,
 * state and library options are read from. Values are taken as they are written (`off` is a word, `010` is not 8); the
 * schema's parsers judge them, so sources cannot differ. Every message names the place: `vtepd.yaml:7: vnis[0].mtu`.
 */
import { createRequire } from 'node:module';
import type { Document, LineCounter, Node, YAMLMap } from 'yaml';
import { ConfigError } from './config-error.js';
import { suggestion } from './nearest.js';

export type { Node } from 'yaml';

let loaded: typeof import('yaml') | undefined;

/** The parser is a tenth of what a start loads, and flags alone need none: it is loaded with the first text. */
function yaml(): typeof import('yaml') {
  loaded ??= createRequire(import.meta.url)('yaml') as typeof import('yaml');
  return loaded;
}

/** Levels of maps and lists in a text, far more than any configuration or state has. */
const DEPTH_MAX = 100;
const DEEP_LINE = new RegExp(`^(?:\\s*[-?:]\\s){${DEPTH_MAX}}|^ {${10 * DEPTH_MAX}}`, 'm');

/** The parser recurses for each level, and text that nests some ten thousand aborts the process. @throws ConfigError */
function refuseDeep(text: string, path: string): void {
  let depth = 0;
  for (let at = 0; at < text.length && depth <= DEPTH_MAX; at++) {
    const character = text[at];
    if (character === '[' || character === '{') depth++;
    else if ((character === ']' || character === '}') && depth > 0) depth--;
  }
  if (depth > DEPTH_MAX || DEEP_LINE.test(text))
    throw new ConfigError(`${path}:1: maps and lists are nested too deeply, ${DEPTH_MAX} levels at most`);
}

export class Tree {
  readonly #document: Document;
  /** '' for a value of a program, which has no lines. */
  readonly #path: string;
  readonly #lines: LineCounter;

  private constructor(document: Document, path: string, lines: LineCounter) {
    this.#document = document;
    this.#path = path;
    this.#lines = lines;
  }

  /** @param path what messages call the file @throws ConfigError when it is not YAML */
  static parse(text: string, path: string): Tree {
    const lines = new (yaml().LineCounter)();
    refuseDeep(text, path);
    const document = yaml().parseDocument(text, { lineCounter: lines, prettyErrors: false });
    const broken = document.errors[0];
    if (broken === undefined) return new Tree(document, path, lines);
    const { line } = lines.linePos(broken.pos[0]);
    throw new ConfigError(`${path}:${line}: not valid YAML: ${broken.message.split('\n')[0]}`);
  }

  /** A plain object; what is undefined in it was not said. */
  static of(value: object): Tree {
    return new Tree(new (yaml().Document)(value), '', new (yaml().LineCounter)());
  }

  /** null: there is nothing. */
  get root(): Node | null {
    return this.#document.contents;
  }

  /** Keys and values of a map. @param known keys that are allowed; without, every key is @throws ConfigError */
  entries(node: Node, name: string, known?: readonly string[]): [string, Node][] {
    if (!yaml().isMap(node))
      throw this.error(node, name || 'the file', 'must be a map of "key: value" lines');
    return (node as YAMLMap<Node, Node | null>).items.map(({ key, value }) => {
      const word = yaml().isScalar(key) ? String(key.value) : String(key);
      const where = name === '' ? word : `${name}.${word}`;
      if (known !== undefined && !known.includes(word)) {
        const cure = suggestion(word, known) || `; known are ${known.join(', ')}`;
        throw this.error(key, where, `unknown key${cure}`);
      }
      if (value === null) throw this.error(key, where, 'has no value');
      return [word, this.#resolve(value)];
    });
  }

  /** Items of a list with their names: `vnis[0]`. @throws ConfigError */
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

  /** A plain value as it was written; of a quoted one what the quotes hold. @throws ConfigError */
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
