/**
 * What the benchmark says while it runs, on stderr: the tables on stdout stay clean.
 */

/** On a terminal one line that is overwritten, else a line each. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (text !== '') process.stderr.write(`${text}\n`);
}

/** Something did not work; the benchmark goes on. */
export function reportFailure(text: string): void {
  process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[K' : ''}failed: ${text}\n`);
}
