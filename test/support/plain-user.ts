/**
 * A plain user's daemon: no root, two capabilities, given ambiently as systemd and setpriv(1) give them. And the
 * little programs in C of the labs.
 */
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.js';
import type { Namespace } from './netns.js';
import { toolPath } from './netns.js';
import { Vtepd } from './vtepd.js';

/** Nobody's, on any machine: what is not given to it, it has no right to. */
export const PLAIN_UID = 61_234;
/** CAP_NET_ADMIN and CAP_NET_RAW as the kernel shows sets of capabilities. */
export const TWO_CAPABILITIES = '0000000000003000';

const ROOT = new URL('../../', import.meta.url).pathname;

/**
 * In the mount namespace that `ip netns exec` has made: the project and Node where everybody may read them, and a
 * /dev/net/tun as udev makes it, for everybody; without udev it is often root's.
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
# What node-tap has children report to is not for this user.
unset NODE_OPTIONS
exec setpriv --reuid ${PLAIN_UID} --regid ${PLAIN_UID} --clear-groups --no-new-privs \\
  --inh-caps -all,+net_admin,+net_raw --ambient-caps -all,+net_admin,+net_raw --bounding-set -all,+net_admin,+net_raw \\
  /mnt/node /mnt/vtepd/dist/vtepd.js "$@"`;

/** Command line of the built daemon as such a user. @param tunMode of /dev/net/tun */
export function plainUserCommand(flags: string, tunMode = '666'): string[] {
  const words = flags.split(/\s+/).filter(Boolean);
  return ['sh', '-c', AS_PLAIN_USER, 'sh', ROOT, process.execPath, tunMode, ...words];
}

/** Starts it with an API of its own and waits until it is ready. @param dir made for it, and given to it */
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

/** Compiles a program of test/support/tools. @returns its path */
export async function compileTool(dir: string, name: string): Promise<string> {
  const program = join(dir, name);
  await run(['cc', '-Wall', '-Werror', '-O1', '-D_GNU_SOURCE', '-o', program, toolPath(`${name}.c`)]);
  return program;
}
