/**
 * The operating system's tools that the demo, the tests and the benchmarks call. What is missing is installed
 * through apt where apt exists and we may; otherwise one line names it. Runs before anything is installed:
 * no dependencies.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Tool → Debian package. */
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
  setpriv: 'util-linux',
  nsenter: 'util-linux',
  'systemd-analyze': 'systemd',
  'systemd-nspawn': 'systemd-container',
  'ovs-vswitchd': 'openvswitch-switch',
  fastd: 'fastd',
  tincd: 'tinc',
};

/** Where tools lie that a plain user's PATH may lack. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];

/**
 * Makes sure that these tools are there.
 *
 * @param {(keyof typeof PACKAGES)[]} names
 * @returns {string | undefined} what is missing and can't be installed, in one line
 */
export function ensureTools(names) {
  const missing = names.filter((name) => !isInstalled(name));
  if (missing.length === 0) return undefined;
  const packages = [...new Set(missing.map((name) => PACKAGES[name]))];
  if (process.getuid() !== 0 || !isInstalled('apt-get')) return complaint(missing, packages);

  console.log(`installing ${packages.join(', ')} through apt-get`);
  if (!install(packages)) {
    apt(['update']);
    install(packages);
  }
  const still = missing.filter((name) => !isInstalled(name));
  return still.length === 0 ? undefined : complaint(still, packages);
}

function complaint(missing, packages) {
  return `missing tools: ${missing.join(', ')} (Debian packages: ${packages.join(', ')})`;
}

/** An index of packages that is there already is tried first: fetching a new one takes longest of all. */
function install(packages) {
  return apt(['install', '--yes', '--no-install-recommends', ...packages]);
}

function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', ['--quiet', ...args], { stdio: 'ignore', env }).status === 0;
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
