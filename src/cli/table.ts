/**
 * Tables with aligned columns, in the style of `ip -br` and `bridge fdb`.
 *
 * Each row is one line, columns are separated by two spaces, and numbers are right-aligned.
 */

/** A cell; null prints as `-`. */
export type Cell = string | number | null;

/** @returns lines, each with a newline at its end; '' without rows */
export function formatTable(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  if (rows.length === 0) return '';
  const cells = rows.map((row) => row.map((cell) => (cell === null ? '-' : String(cell))));
  const lines = [header, ...cells];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  const numeric = widths.map((_, column) => rows.every((row) => typeof row[column] === 'number'));
  return lines.map((line) => `${line.map(pad).join('  ').trimEnd()}\n`).join('');

  function pad(text: string, column: number): string {
    return numeric[column] ? text.padStart(widths[column]) : text.padEnd(widths[column]);
  }
}

/** Formats a duration in its two largest units: `2d 3h`, `4m 10s`. */
export function formatDuration(seconds: number): string {
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ];
  const parts: string[] = [];
  let remaining = Math.floor(seconds);
  for (const [unit, length] of units) {
    const amount = Math.floor(remaining / length);
    remaining -= amount * length;
    if (amount > 0 || (unit === 's' && parts.length === 0)) parts.push(`${amount}${unit}`);
  }
  return parts.slice(0, 2).join(' ');
}

/** Formats a number with its noun: `1 packet`, `2 packets`, `0 entries`. */
export function formatCount(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
