/**
 * Tools of the operating system that a test of a single module reads its result with. `npm run check` installs nothing, and
 * skips such a test where the tool is missing; `npm test` installs them all, and fails if the test did not run
 * (`test/lab/list.json`).
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** @returns why a test that needs it is skipped; false: it is there */
export function missingTool(name: string): string | false {
  const isThere = (process.env.PATH ?? '')
    .split(delimiter)
    .some((folder) => isExecutable(join(folder, name)));
  return isThere ? false : `${name} is not installed`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
