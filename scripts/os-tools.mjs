/**
 * Tools of the operating system that the demo, the tests and the benchmarks call.
 *
 * Missing tools are installed with apt, if apt exists and the process is root; otherwise one line
 * names them. The module has no dependencies, because it runs before packages are installed.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Debian packages of each tool. */
const PACKAGES = {
  ip: 'iproute2',
  bridge: 'iproute2',
  ping: 'iputils-ping',
  tcpdump: 'tcpdump',
  iperf3: 'iperf3',
  curl: 'curl',
  openssl: 'openssl',
  ethtool: 'ethtool',
  nft: 'nftables',
  dnsmasq: 'dnsmasq-base',
  wg: 'wireguard-tools',
  'wireguard-go': 'wireguard-go',
  setpriv: 'util-linux',
  nsenter: 'util-linux',
  'systemd-analyze': 'systemd',
  'systemd-nspawn': 'systemd-container',
  'ovs-vswitchd': 'openvswitch-switch',
  fastd: 'fastd',
  tincd: 'tinc',
  mandoc: 'mandoc',
  groff: 'groff-base',
  zsh: 'zsh',
  script: 'bsdutils',
  clang: ['clang', 'libclang-rt-14-dev'],
  tc: 'iproute2',
  faketime: 'faketime',
};

/**
 * Packages that contain a service. They are unpacked into the build folder of this project instead
 * of installed, so that no service starts and nothing stays on the machine.
 */
const UNPACKED = {
  prometheus: 'prometheus',
  promtool: 'prometheus',
};

/** Folder of unpacked packages. The tests look for programs there as well. */
const UNPACKED_FOLDER = join(dirname(dirname(fileURLToPath(import.meta.url))), 'build/os-tools');

/** Folders of tools that may be missing in the PATH of a plain user. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin', join(UNPACKED_FOLDER, 'usr/bin')];

/**
 * Installs those of the named tools that are missing.
 *
 * @param {(keyof typeof PACKAGES | keyof typeof UNPACKED)[]} names
 * @returns {string | undefined} one line that names the tools which cannot be installed, if any
 */
export function ensureTools(names) {
  const missing = names.filter((name) => !isInstalled(name));
  if (missing.length === 0) return undefined;
  const unpacked = packagesOf(missing, UNPACKED);
  const packages = packagesOf(missing, PACKAGES);
  const all = [...packages, ...unpacked];
  if (process.getuid() !== 0 || !isInstalled('apt-get')) return complaint(missing, all);

  console.log(`installing ${all.join(', ')} through apt-get`);
  if (!bring(packages, unpacked)) {
    apt(['update']);
    bring(packages, unpacked);
  }
  const still = missing.filter((name) => !isInstalled(name));
  return still.length === 0 ? undefined : complaint(still, all);
}

function complaint(missing, packages) {
  return `missing tools: ${missing.join(', ')} (Debian packages: ${packages.join(', ')})`;
}

function packagesOf(names, table) {
  return [...new Set(names.flatMap((name) => table[name] ?? []))];
}

/** Installs with the existing package index of apt, because fetching a new index takes longest. */
function bring(packages, unpacked) {
  return (packages.length === 0 || install(packages)) && unpacked.every(unpack);
}

function install(packages) {
  return apt(['install', '--yes', '--no-install-recommends', ...packages]);
}

/** Unpacks a package without its dependencies, for programs that need only the C library. */
function unpack(name) {
  mkdirSync(UNPACKED_FOLDER, { recursive: true });
  if (!apt(['download', name], UNPACKED_FOLDER)) return false;
  const archives = readdirSync(UNPACKED_FOLDER).filter((file) => file.endsWith('.deb'));
  const args = archives.map((file) => ['--extract', join(UNPACKED_FOLDER, file), UNPACKED_FOLDER]);
  const isDone = args.every((each) => spawnSync('dpkg-deb', each, { stdio: 'ignore' }).status === 0);
  for (const file of archives) rmSync(join(UNPACKED_FOLDER, file));
  return isDone;
}

function apt(args, cwd) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', ['--quiet', ...args], { stdio: 'ignore', env, cwd }).status === 0;
}

function isInstalled(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_FOLDERS];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
