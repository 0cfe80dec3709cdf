/**
 * Set-up of a fresh clone: packages, tools of the operating system, build.
 *
 * Each step runs only when needed and prints one line of progress. `npm start`, `npm test`, `npm
 * run check` and `npm run bench` begin with it. The module has no dependencies, because it runs
 * before packages are installed.
 */
import { spawnSync } from 'node:child_process';
import { lstatSync, readlinkSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureTools } from './os-tools.mjs';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const NODE_MAJOR = 20;

/**
 * Sets everything up, or prints one line with the error and exits with 1.
 *
 * @param {{tools?: Parameters<typeof ensureTools>[0], build?: boolean}} needs
 */
export function setUp({ tools = [], build = true } = {}) {
  if (process.platform !== 'linux') giveUp('vtepd runs on Linux only');
  if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR) {
    giveUp(`vtepd needs Node.js ${NODE_MAJOR} or newer, this is ${process.version}`);
  }
  installPackages();
  const missing = ensureTools(tools);
  if (missing !== undefined) giveUp(missing);
  if (build && node('scripts/build.mjs').status !== 0) giveUp('the build failed, see above');
}

/** Prints one line and exits with 1, unless the process runs as root. */
export function needRoot(command) {
  if (process.getuid() === 0) return;
  giveUp(
    `${command} must run as root: it creates network namespaces, veth pairs and TAP devices (CAP_SYS_ADMIN, CAP_NET_ADMIN)`,
  );
}

/** Runs a Node program of this project, with the standard streams of this process. */
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

/** Refuses a symbolic link: npm ci would empty the node_modules of another checkout. */
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
