/**
 * Saves and restores the original settings of an existing TAP.
 *
 * The settings are recorded in the ifalias of the device before anything is changed. When vtepd
 * starts after `kill -9`, it finds the record, restores the device and adopts it again, so that
 * settings left by the killed daemon are not mistaken for the administrator's. A previous alias is
 * part of the record.
 */
import type { Link, Machine } from './machine.js';
import { deleteAddress } from './netlink/addresses.js';
import { type LinkSettings, setLink } from './netlink/links.js';

export interface TapRecord {
  readonly mtu: number;
  readonly mac: string;
  readonly up: boolean;
  /** Name of the bridge; '' none. */
  readonly master: string;
  readonly alias: string;
  readonly addrGenMode: string;
  /** Addresses that vtepd adds. */
  readonly added: readonly string[];
}

const RECORD_MARK = 'vtepd adopted ';
/** Longest ifalias, bytes: IFALIASZ of the kernel less the final zero byte. */
const ALIAS_MAX_LEN = 255;

/** Restores a device that a killed daemon had adopted. @returns the device as restored */
export async function restoreLeftover(machine: Machine, tap: Link): Promise<Link> {
  const record = parseRecord(tap.alias);
  if (!record) return tap;
  await restoreTap(machine, tap.index, record);
  return machine.link(tap.index) ?? tap;
}

/**
 * Records the settings of the device before it is changed.
 *
 * @param addresses addresses that the device will get, canonical
 */
export async function recordTap(
  machine: Machine,
  tap: Link,
  addresses: readonly string[],
): Promise<TapRecord> {
  const present = machine.addressesOf(tap.index);
  const record: TapRecord = {
    mtu: tap.mtu,
    mac: tap.mac,
    up: tap.up,
    master: machine.nameOf(tap.master),
    alias: tap.alias,
    addrGenMode: tap.addrGenMode,
    added: addresses.filter((address) => !present.includes(address)),
  };
  // A record that is too long for an alias is not written. An orderly stop still restores the
  // device, but a start after `kill -9` cannot.
  const alias = RECORD_MARK + JSON.stringify(record);
  if (Buffer.byteLength(alias) <= ALIAS_MAX_LEN)
    await machine.change(setLink(`record the settings of ${tap.name}`, tap.index, { alias }));
  return record;
}

/** Restores the recorded settings that differ; does nothing when the device no longer exists. */
export async function restoreTap(machine: Machine, index: number, before: TapRecord): Promise<void> {
  const now = machine.link(index);
  if (!now) return;
  const present = machine.addressesOf(index);
  for (const address of before.added)
    if (present.includes(address)) await machine.change(deleteAddress(address, index, now.name));
  const set = (settings: LinkSettings) => machine.change(setLink(`restore ${now.name}`, index, settings));
  if (now.up && !before.up) await set({ up: false });
  // Without its former bridge, the device has none.
  const master = before.master === '' ? 0 : (machine.find(before.master)?.index ?? 0);
  if (now.master !== master) await set({ master });
  if (now.mtu !== before.mtu) await set({ mtu: before.mtu });
  if (now.mac !== before.mac) await set({ mac: before.mac });
  // A device with an MTU below 1280 has no IPv6 (RFC 8200 §5), and then no mode either.
  const { addrGenMode } = before;
  if (addrGenMode !== '' && now.addrGenMode !== addrGenMode) await set({ addrGenMode });
  if (!now.up && before.up) await set({ up: true });
  if (now.alias !== before.alias) await set({ alias: before.alias });
}

/** @returns undefined for an alias that is not a record of vtepd */
export function parseRecord(alias: string): TapRecord | undefined {
  if (!alias.startsWith(RECORD_MARK)) return undefined;
  try {
    const record = JSON.parse(alias.slice(RECORD_MARK.length)) as TapRecord;
    return Array.isArray(record.added) && Number.isInteger(record.mtu) ? record : undefined;
  } catch {
    return undefined;
  }
}
