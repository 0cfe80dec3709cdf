/**
 * Identifiers of this machine and its network namespace (machine-id(5), namespaces(7)).
 *
 * The functions never throw. A container without a machine id gets the boot id instead. The default
 * MACs are derived from the id (`mac-address.ts`), so in such a container they change at each
 * reboot.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/**
 * Files with an id, the most stable first: set at installation, copied for D-Bus, new at every
 * boot.
 */
const SOURCES = ['/etc/machine-id', '/var/lib/dbus/machine-id', '/proc/sys/kernel/random/boot_id'];

/** Content of the file in an image that has not booted yet (machine-id(5)). */
const NOT_YET = 'uninitialized';

/** Returns the first id found, or the host name. @param sources files, in order of preference */
export function machineId(sources: readonly string[] = SOURCES): string {
  for (const source of sources) {
    const id = firstLine(source);
    if (id !== '' && id !== NOT_YET) return id;
  }
  return hostname();
}

/** Returns the inode of this network namespace as text; unique on the machine while it exists. */
export function netnsId(): string {
  try {
    return readlinkSync('/proc/self/ns/net').replace(/\D/g, '');
  } catch {
    return '';
  }
}

function firstLine(path: string): string {
  try {
    return readFileSync(path, 'utf8').split('\n')[0].trim();
  } catch {
    return '';
  }
}
