/**
 * Tables for the terminal that are Markdown at the same time: what is printed can be quoted.
 */

/** @param left columns that are not right-aligned: words */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  left: readonly number[] = [0],
): string {
  const widths = header.map((_, column) =>
    Math.max(3, ...[header, ...rows].map((row) => row[column].length)),
  );
  const pad = (cell: string, column: number) =>
    left.includes(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column]);
  const line = (row: readonly string[]) => `| ${row.map(pad).join(' | ')} |`;
  const rule = widths.map((width, column) =>
    left.includes(column) ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`,
  );
  return [line(header), `|${rule.join('|')}|`, ...rows.map(line)].join('\n');
}

/** A heading and what stands under it. */
export function section(title: string, body: string): void {
  console.log(`\n${title}\n\n${body}`);
}
