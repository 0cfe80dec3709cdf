/**
 * Detection of operating-system tools that tests of single modules use to read their results.
 *
 * `npm run check` installs nothing and skips the test if its tool is missing. `npm test` installs
 * all tools and fails on a skipped test.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** @returns reason to skip a test that needs the tool; false if the tool is installed */
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
