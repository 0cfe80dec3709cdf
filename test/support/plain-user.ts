/**
 * The daemon run by a plain user, and compilation of the labs' C programs.
 *
 * The user is not root; setpriv(1) gives it two ambient capabilities, as systemd gives the service.
 */
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.js';
import type { Namespace } from './netns.js';
import { toolPath } from './netns.js';
import { Vtepd } from './vtepd.js';

/** User id without an account on any machine: it has only the rights given to it here. */
export const PLAIN_UID = 61_234;
/** CAP_NET_ADMIN and CAP_NET_RAW as the kernel prints capability sets. */
export const TWO_CAPABILITIES = '0000000000003000';

const ROOT = new URL('../../', import.meta.url).pathname;

/**
 * Script for the mount namespace that `ip netns exec` creates. It mounts the project and Node where
 * every user may read them, and a /dev/net/tun with the mode that udev sets; without udev the
 * device is often for root only.
 */
const AS_PLAIN_USER = `set -e
mount -t tmpfs none /mnt
mkdir /mnt/vtepd
touch /mnt/node
mount --bind "$1" /mnt/vtepd
mount --bind "$2" /mnt/node
mount -t tmpfs -o mode=755 none /dev/net
mknod /dev/net/tun c 10 200
chmod "$3" /dev/net/tun
shift 3
# node-tap sets options for child processes in this variable; they do not work for this user.
unset NODE_OPTIONS
exec setpriv --reuid ${PLAIN_UID} --regid ${PLAIN_UID} --clear-groups --no-new-privs \\
  --inh-caps -all,+net_admin,+net_raw --ambient-caps -all,+net_admin,+net_raw --bounding-set -all,+net_admin,+net_raw \\
  /mnt/node /mnt/vtepd/dist/vtepd.js "$@"`;

/**
 * Command line that runs the built daemon as the plain user.
 *
 * @param tunMode mode of /dev/net/tun
 */
export function plainUserCommand(flags: string, tunMode = '666'): string[] {
  const words = flags.split(/\s+/).filter(Boolean);
  return ['sh', '-c', AS_PLAIN_USER, 'sh', ROOT, process.execPath, tunMode, ...words];
}

/**
 * Starts the daemon with an API of its own and waits until it is ready.
 *
 * @param dir directory to create; it is owned by the user
 */
export async function startAsPlainUser(
  host: Namespace,
  dir: string,
  flags: string,
  env: Record<string, string>,
): Promise<Vtepd> {
  mkdirSync(dir, { mode: 0o755 });
  chmodSync(join(dir, '..'), 0o711);
  chownSync(dir, PLAIN_UID, PLAIN_UID);
  const socket = join(dir, 'api.sock');
  const command = plainUserCommand(`${flags} --api unix:${socket} --state ${join(dir, 'state.json')}`);
  const daemon = new Vtepd(host, host.start(command, { env }), socket);
  await daemon.ready();
  return daemon;
}

/**
 * Compiles a program of test/support/tools.
 *
 * @returns path of the executable
 */
export async function compileTool(dir: string, name: string): Promise<string> {
  const program = join(dir, name);
  await run(['cc', '-Wall', '-Werror', '-O1', '-D_GNU_SOURCE', '-o', program, toolPath(`${name}.c`)]);
  return program;
}
