/** Rulesets as nft prints them, and their judgement in the form that tests compare. */
import { readFileSync } from 'node:fs';
import type { OuterTraffic, Shortcut } from '../../../src/host/rules/outer-traffic.js';
import { Ruleset } from '../../../src/host/rules/ruleset.js';
import { rulesAgainstShortcut } from '../../../src/host/rules/shortcut-rules.js';
import { type Kind, OURS } from './kinds.js';

/** Recorded rulesets, one JSON value a line (README.md there). */
export const RULESETS = new URL('../rulesets/', import.meta.url);

/** @returns the elements of a ruleset of the folder `rulesets` */
export function stockRuleset(name: string): unknown[] {
  return linesOf(`${name}.jsonl`);
}

/** @returns the recorded output of nft for each of `KINDS`, by name */
export function recordedKinds(): Map<string, unknown[]> {
  const recorded = linesOf('kinds.jsonl') as { name: string; nftables: unknown[] }[];
  return new Map(recorded.map(({ name, nftables }) => [name, nftables]));
}

/** @returns `chain: what the rule does` of each obstacle */
export function judged(
  elements: readonly unknown[],
  { shortcut, traffic }: Pick<Kind, 'shortcut' | 'traffic'>,
) {
  const found = rulesAgainstShortcut(new Ruleset(elements), { ...OURS, ...traffic }, shortcut);
  return found.map(({ chain, does }) => `${chain}: ${does}`);
}

/** @returns `family table chain handle: text` of each obstacle */
export function named(elements: readonly unknown[], shortcut: Shortcut, traffic: Partial<OuterTraffic> = {}) {
  const found = rulesAgainstShortcut(new Ruleset(elements), { ...OURS, ...traffic }, shortcut);
  return found.map(
    ({ family, table, chain, handle, text }) => `${family} ${table} ${chain} ${handle ?? '-'}: ${text}`,
  );
}

function linesOf(file: string): unknown[] {
  return readFileSync(new URL(file, RULESETS), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}
