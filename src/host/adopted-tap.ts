/**
 * Saves and restores the original settings of an existing TAP.
 *
 * The settings are recorded in the ifalias of the device before anything is changed. When vtepd
 * starts after `kill -9`, it finds the record, restores the device and adopts it again, so that
 * settings left by the killed daemon are not mistaken for the administrator's. A previous alias is
 * part of the record.
 */
import { ip } from './ip-command.js';
import { addressesOf, findLink, type Link, setLink } from './link.js';

export interface TapRecord {
  readonly mtu: number;
  readonly mac: string;
  readonly up: boolean;
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
export async function restoreLeftover(tap: Link): Promise<Link> {
  const record = parseRecord(tap.alias);
  if (!record) return tap;
  await restoreTap(tap.name, record);
  return (await findLink(tap.name)) ?? tap;
}

/**
 * Records the settings of the device before it is changed.
 *
 * @param addresses addresses that the device will get, canonical
 */
export async function recordTap(tap: Link, addresses: readonly string[]): Promise<TapRecord> {
  const present = await addressesOf(tap.name);
  const record: TapRecord = {
    mtu: tap.mtu,
    mac: tap.mac,
    up: tap.up,
    master: tap.master,
    alias: tap.alias,
    addrGenMode: tap.addrGenMode,
    added: addresses.filter((address) => !present.includes(address)),
  };
  // A record that is too long for an alias is not written. An orderly stop still restores the
  // device, but a start after `kill -9` cannot.
  const text = RECORD_MARK + JSON.stringify(record);
  if (Buffer.byteLength(text) <= ALIAS_MAX_LEN) await setLink(tap.name, 'alias', text);
  return record;
}

/** Restores the recorded settings that differ; does nothing when the device no longer exists. */
export async function restoreTap(name: string, before: TapRecord): Promise<void> {
  const now = await findLink(name);
  if (!now) return;
  const present = await addressesOf(name);
  for (const address of before.added) {
    if (present.includes(address)) await ip(['address', 'delete', address, 'dev', name]);
  }
  if (now.up && !before.up) await setLink(name, 'down');
  if (now.master !== before.master) await setMaster(name, before.master);
  if (now.mtu !== before.mtu) await setLink(name, 'mtu', String(before.mtu));
  if (now.mac !== before.mac) await setLink(name, 'address', before.mac);
  if (now.addrGenMode !== before.addrGenMode) await setLink(name, 'addrgenmode', before.addrGenMode);
  if (!now.up && before.up) await setLink(name, 'up');
  if (now.alias !== before.alias) await setLink(name, 'alias', before.alias);
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

/** Sets the master of the device, or no master if the former master no longer exists. */
async function setMaster(name: string, master: string): Promise<void> {
  if (master !== '' && (await findLink(master))) return setLink(name, 'master', master);
  await setLink(name, 'nomaster');
}
