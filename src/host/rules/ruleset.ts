/**
 * The nftables ruleset of this host, as `nft -json list ruleset` prints it (libnftables-json(5)).
 *
 * Chains are indexed with their rules, sets and maps with their elements. Elements of kinds that
 * are unknown here (flowtables, stateful objects, kinds of a later nft) are ignored; a rule that
 * refers to such a kind still names it in its expressions. nft does not list rules of legacy
 * iptables.
 */

export interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  /** Only base chains have a hook, type, priority and policy. */
  readonly hook: string;
  readonly type: string;
  readonly priority: number;
  readonly policy: string;
  /** Devices of a chain at hook ingress or egress; empty: nft did not list them. */
  readonly devices: readonly string[];
  readonly rules: Rule[];
}

export interface Rule {
  readonly chain: Chain;
  /** Number of the rule in its table, as `nft -a list ruleset` prints it. */
  readonly handle: number;
  readonly expressions: readonly Expression[];
}

/** One expression of a rule: `{ "match": {…} }` has kind 'match'. */
export interface Expression {
  readonly kind: string;
  readonly body: unknown;
}

/** Elements of a set, or pairs [key, value] of a map. */
export interface Elements {
  readonly elements: readonly unknown[];
  /** Rules add elements while packets pass, without a notification. */
  isDynamic: boolean;
  /** Elements expire, without a notification. */
  readonly expires: boolean;
  /** Each lookup of an element counts or limits, because the set has stateful statements. */
  readonly isStateful: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

export class Ruleset {
  readonly chains: readonly Chain[];
  readonly #chains = new Map<string, Chain>();
  readonly #sets = new Map<string, Elements>();

  /** @param elements the list `nftables` of the output */
  constructor(elements: readonly unknown[]) {
    for (const { chain, set, map } of elements.map(fieldsOf)) {
      if (chain !== undefined) this.#addChain(fieldsOf(chain));
      if (set !== undefined) this.#addSet(fieldsOf(set));
      if (map !== undefined) this.#addSet(fieldsOf(map));
    }
    for (const { rule } of elements.map(fieldsOf)) if (rule !== undefined) this.#addRule(fieldsOf(rule));
    this.chains = [...this.#chains.values()];
  }

  /** Base chains of a hook, in the order in which packets pass them. */
  atHook(hook: string): Chain[] {
    return this.chains.filter((chain) => chain.hook === hook).sort((a, b) => a.priority - b.priority);
  }

  /** @returns the chain of this name in the table of another chain */
  chain({ family, table }: Chain, name: string): Chain | undefined {
    return this.#chains.get(pathOf(family, table, name));
  }

  /** @returns the set or map of this name in the table of a chain */
  set({ family, table }: Chain, name: string): Elements | undefined {
    return this.#sets.get(pathOf(family, table, name));
  }

  #addChain(fields: Fields): void {
    const { prio, dev } = fields;
    const [family, table, name] = [fields.family, fields.table, fields.name].map(textOf);
    this.#chains.set(pathOf(family, table, name), {
      family,
      table,
      name,
      hook: textOf(fields.hook),
      type: textOf(fields.type),
      policy: textOf(fields.policy),
      priority: typeof prio === 'number' ? prio : 0,
      devices: (Array.isArray(dev) ? dev : [dev]).filter((name) => typeof name === 'string'),
      rules: [],
    });
  }

  #addRule({ family, table, chain: name, handle, expr }: Fields): void {
    const chain = this.#chains.get(pathOf(textOf(family), textOf(table), textOf(name)));
    if (chain === undefined) return;
    const expressions = listOf(expr).map(expressionOf);
    chain.rules.push({ chain, handle: typeof handle === 'number' ? handle : 0, expressions });
    for (const name of expressions.flatMap(setsFilledBy)) {
      const set = this.set(chain, name);
      if (set !== undefined) set.isDynamic = true;
    }
  }

  #addSet({ family, table, name, elem, flags, stmt, timeout }: Fields): void {
    const words = Array.isArray(flags) ? flags : [flags];
    const elements = listOf(elem);
    this.#sets.set(pathOf(textOf(family), textOf(table), textOf(name)), {
      elements,
      isDynamic: words.includes('dynamic'),
      expires: words.includes('timeout') || timeout !== undefined,
      isStateful: stmt !== undefined || elements.some(isStatefulElement),
    });
  }
}

/** Fields of an element that are no statement. */
const ELEMENT_FIELDS = ['val', 'timeout', 'expires', 'comment'];

/** @returns true for `{ "elem": { "val": …, "counter": … } }`, alone or as the key of a pair */
export function isStatefulElement(element: unknown): boolean {
  const { elem } = fieldsOf(Array.isArray(element) ? element[0] : element);
  return Object.keys(fieldsOf(elem)).some((field) => !ELEMENT_FIELDS.includes(field));
}

/** Kind of an expression that nft prints as text, because it has no JSON for it. */
export const AS_TEXT = 'text';

/**
 * Names of the sets and maps to which a statement adds elements. nft 1.0.6 does not print the flag
 * 'dynamic' of a set, and prints statements that add to a map as text.
 */
function setsFilledBy({ kind, body }: Expression): string[] {
  if (kind === AS_TEXT) return [...textOf(body).matchAll(/@([^\s;{}]+)/g)].map(([, name]) => name);
  return kind === 'set' || kind === 'map' ? [textOf(fieldsOf(body)[kind]).slice(1)] : [];
}

function expressionOf(expression: unknown): Expression {
  if (typeof expression === 'string') return { kind: AS_TEXT, body: expression };
  const fields = fieldsOf(expression);
  const [kind = ''] = Object.keys(fields);
  return { kind, body: fields[kind] };
}

/** @returns the fields of an object; none for every other value */
export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function pathOf(family: string, table: string, name: string): string {
  return `${family} ${table} ${name}`;
}
