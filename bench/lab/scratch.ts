/**
 * A directory for sockets, databases and keys of what the benchmark starts. It is gone when the benchmark is.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

let root = '';
let made = 0;

/** A new directory of this name. Short: paths of unix sockets have 108 bytes at most. */
export function scratchDirectory(name: string): string {
  if (root === '') {
    root = mkdtempSync(join(tmpdir(), 'vtepd-bench-'));
    process.once('exit', () => rmSync(root, { recursive: true, force: true }));
  }
  const path = join(root, `${made++}-${name}`);
  mkdirSync(path);
  return path;
}
