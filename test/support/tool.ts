/**
 * Detection of operating-system tools that single tests use to check their results.
 *
 * `npm run check` installs no tools and skips such a test when its tool is missing. `npm test`
 * installs all tools, and fails if the test did not run.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** @returns reason to skip a test that needs the tool; false when the tool is installed */
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
