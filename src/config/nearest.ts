/** "Did you mean" suggestions for unknown flags and keys. */

/** Maximum edit distance of a suggestion. */
const MOST_EDITS = 3;

/**
 * @returns text to append to a message, such as `; did you mean "mtu"?`; '' if no known word is
 *   similar
 */
export function suggestion(word: string, known: readonly string[]): string {
  let best = '';
  let bestEdits = MOST_EDITS + 1;
  for (const candidate of known) {
    const edits = editDistance(plain(word), plain(candidate));
    if (edits >= bestEdits || edits * 2 >= plain(candidate).length) continue;
    best = candidate;
    bestEdits = edits;
  }
  return best === '' ? '' : `; did you mean "${best}"?`;
}

/**
 * Converts to lower case and removes leading hyphens, because hyphens would make all short flags
 * similar.
 */
function plain(word: string): string {
  return word.toLowerCase().replace(/^-+/, '');
}

/** Edit distance with transpositions (optimal string alignment), one matrix row at a time. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      next.push(Math.min(substitute, row[j] + 1, next[j - 1] + 1, swapped ? before[j - 2] + 1 : substitute));
    }
    before = row;
    row = next;
  }
  return row[b.length];
}
