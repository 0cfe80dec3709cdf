/**
 * Pages of a list that changes while it is read. Items are in the order of a key of theirs, and a page begins behind
 * the last key of the one before: what is there all the time is listed once, whatever comes and goes meanwhile.
 */

import { wholeNumber } from '../config/values.js';
import { parseWith } from './params.js';

/** Most items of one page. */
const PAGE_MAX = 1000;

export interface PageQuery {
  readonly limit?: string;
  readonly cursor?: string;
}

export interface Page<T> {
  readonly items: T[];
  /** null: there is no further page. */
  readonly nextCursor: string | null;
}

/** @param after the key of the cursor; undefined: from the beginning @throws ApiError for a bad limit */
export function pageOf<T, K extends number | string>(
  all: readonly T[],
  keyOf: (item: T) => K,
  limit: string | undefined,
  after: K | undefined,
): Page<T> {
  const most = limitOf(limit);
  const rest = all.filter((item) => after === undefined || keyOf(item) > after);
  rest.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const items = rest.slice(0, most);
  const last = items.at(-1);
  return {
    items,
    nextCursor: last !== undefined && rest.length > most ? String(keyOf(last)) : null,
  };
}

/** @throws ApiError bad_request */
export function limitOf(limit = String(PAGE_MAX)): number {
  return parseWith('limit', limit, wholeNumber(1, PAGE_MAX));
}
