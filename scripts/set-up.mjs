/**
 * From a fresh clone to something that runs: packages, tools of the operating system, build. Each step only when
 * it is needed, with one line of progress. What `npm start`, `npm test`, `npm run check` and `npm run bench`
 * begin with. Runs before anything is installed: no dependencies.
 */
import { spawnSync } from 'node:child_process';
import { lstatSync, readlinkSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureTools } from './os-tools.mjs';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const NODE_MAJOR = 20;

/**
 * Sets everything up, or ends the process with 1 and one line that says what is in the way.
 *
 * @param {{tools?: Parameters<typeof ensureTools>[0], build?: boolean}} needs
 */
export function setUp({ tools = [], build = true } = {}) {
  if (process.platform !== 'linux') giveUp('vtepd runs on Linux only');
  if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR) {
    giveUp(`Node ${NODE_MAJOR} or newer is needed, this is ${process.version}`);
  }
  installPackages();
  const missing = ensureTools(tools);
  if (missing !== undefined) giveUp(missing);
  if (build && node('scripts/build.mjs').status !== 0) giveUp('the build failed, see above');
}

/** Ends the process with one line, unless it runs as root. */
export function needRoot(command) {
  if (process.getuid() === 0) return;
  giveUp(
    `${command} needs root: it makes network namespaces, veth pairs and TAP devices (CAP_SYS_ADMIN, CAP_NET_ADMIN)`,
  );
}

/** Runs a Node program of this project on this terminal. */
export function node(...args) {
  return spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
}

function installPackages() {
  if (changedMs('node_modules/.package-lock.json') >= changedMs('package-lock.json')) return;
  refuseLink();
  console.log('installing packages (npm ci)');
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync('npm', ['ci', ...quiet], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) giveUp('npm ci failed, see above');
}

/** npm ci empties node_modules first; through a link that is the folder of someone else. */
function refuseLink() {
  const link = join(root, 'node_modules');
  if (!lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink()) return;
  giveUp(
    `${link} is a symbolic link, and npm ci would empty the folder it points to (${readlinkSync(link)}): remove the link, or run npm ci where that folder is`,
  );
}

function changedMs(file) {
  return statSync(join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function giveUp(line) {
  console.error(line);
  process.exit(1);
}
