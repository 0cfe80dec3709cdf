/**
 * Tools of the operating system that tests of single modules read their results with. `npm run
 * check` installs nothing: where a tool is missing it skips the test. `npm test` installs all
 * tools, and a skipped test fails it.
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
