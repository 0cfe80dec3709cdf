/**
 * Pagination of lists that change while they are read.
 *
 * Items are sorted by key, and a page starts after the last key of the previous page. So an item
 * that exists during the whole listing appears exactly once, even if other items are added or
 * removed.
 */

import { wholeNumber } from '../config/values.js';
import { parseWith } from './params.js';

/** Maximum items per page. */
const PAGE_MAX = 1000;

export interface PageQuery {
  readonly limit?: string;
  readonly cursor?: string;
}

export interface Page<T> {
  readonly items: T[];
  /** Null on the last page. */
  readonly nextCursor: string | null;
}

/**
 * @param after key from the cursor; undefined: first page
 * @throws ApiError bad_request for an invalid limit
 */
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
