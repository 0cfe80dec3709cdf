/**
 * Scratch directories for sockets, databases and keys, removed when the benchmark exits.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

let root = '';
let made = 0;

/** A new directory. @param name short, because paths of unix sockets have at most 108 bytes */
export function scratchDirectory(name: string): string {
  if (root === '') {
    root = mkdtempSync(join(tmpdir(), 'vtepd-bench-'));
    process.once('exit', () => rmSync(root, { recursive: true, force: true }));
  }
  const path = join(root, `${made++}-${name}`);
  mkdirSync(path);
  return path;
}
