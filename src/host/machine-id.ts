/**
 * What tells this machine, and this network namespace, from every other (machine-id(5), namespaces(7)).
 * Never fails: a container without a machine id still gets MACs, though not the same ones after a reboot.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** From stable to fleeting: set at installation, the same by D-Bus, new at every boot. */
const SOURCES = ['/etc/machine-id', '/var/lib/dbus/machine-id', '/proc/sys/kernel/random/boot_id'];

/** What systemd writes into an image that has not booted yet (machine-id(5)). */
const NOT_YET = 'uninitialized';

/** @param sources files to try in order */
export function machineId(sources: readonly string[] = SOURCES): string {
  for (const source of sources) {
    const id = firstLine(source);
    if (id !== '' && id !== NOT_YET) return id;
  }
  return hostname();
}

/** Inode of this process's network namespace as text: unique on the machine while the namespace lives. */
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
