/**
 * Lists of intervals, and how certainly the values of one list lie in another.
 *
 * The possible values of a header field and the operand of a condition are both such lists. A field
 * whose value is unknown is one interval with all values, so it needs no case of its own.
 */

/** Number or text; all keys of one list are of one kind. Texts are compared by code units. */
export type Key = number | string;

export interface Interval {
  readonly lo: Key;
  /** Inclusive. */
  readonly hi: Key;
}

/** Sorted and disjoint. */
export type Intervals = readonly Interval[];

export type Certainty = 'yes' | 'maybe' | 'no';

/** Greater than each text that a ruleset contains. */
const LAST_TEXT = '\uffff';

export const ANY_TEXT: Intervals = [{ lo: '', hi: LAST_TEXT }];

export function point(key: Key): Interval {
  return { lo: key, hi: key };
}

export function points(keys: readonly Key[]): Intervals {
  return sorted(keys.map(point));
}

/** Interval of all texts with this beginning. */
export function startingWith(prefix: string): Interval {
  return { lo: prefix, hi: prefix + LAST_TEXT };
}

/** Sorts intervals and joins those that overlap. */
export function sorted(intervals: readonly Interval[]): Intervals {
  if (intervals.length < 2) return intervals;
  const joined: Interval[] = [];
  for (const next of [...intervals].sort((a, b) => (a.lo < b.lo ? -1 : a.lo > b.lo ? 1 : 0))) {
    const last = joined.at(-1);
    if (last === undefined || next.lo > last.hi) joined.push(next);
    else if (next.hi > last.hi) joined[joined.length - 1] = { lo: last.lo, hi: next.hi };
  }
  return joined;
}

/** @returns 'yes' if every value lies in the ranges, 'no' if none does */
export function contained(values: Intervals, ranges: Intervals): Certainty {
  let inside = 0;
  let touched = 0;
  const count = (value: Interval, range: Interval) => {
    touched++;
    if (range.lo <= value.lo && value.hi <= range.hi) inside++;
  };
  // The shorter list is scanned, the longer one is searched.
  if (values.length <= ranges.length) {
    for (const value of values) {
      const range = ranges[firstEndingFrom(ranges, value.lo)];
      if (range !== undefined && range.lo <= value.hi) count(value, range);
    }
  } else {
    for (const range of ranges) {
      for (let i = firstEndingFrom(values, range.lo); i < values.length && values[i].lo <= range.hi; i++)
        count(values[i], range);
    }
  }
  if (touched === 0) return 'no';
  return inside === values.length ? 'yes' : 'maybe';
}

/** Index of the first interval that does not end before the key. */
function firstEndingFrom(intervals: Intervals, key: Key): number {
  let low = 0;
  let high = intervals.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (intervals[middle].hi < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function negated(certainty: Certainty): Certainty {
  if (certainty === 'maybe') return 'maybe';
  return certainty === 'yes' ? 'no' : 'yes';
}

/** Conjunction. */
export function both(a: Certainty, b: Certainty): Certainty {
  if (a === 'no' || b === 'no') return 'no';
  return a === 'yes' && b === 'yes' ? 'yes' : 'maybe';
}

/** Disjunction. */
export function either(a: Certainty, b: Certainty): Certainty {
  if (a === 'yes' || b === 'yes') return 'yes';
  return a === 'no' && b === 'no' ? 'no' : 'maybe';
}
