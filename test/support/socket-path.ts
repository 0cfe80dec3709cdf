/**
 * Path of a unix socket, short enough for sun_path (108 bytes).
 *
 * The socket has a directory of its own, which is removed with the test.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

export function socketPath(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'vtepd-test-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  return join(dir, 'api.sock');
}
