/**
 * A TAP that was there before us: what it was like, and how it becomes so again.
 *
 * What it was like is written on the device itself, in its ifalias, before anything is changed: the start after
 * a `kill -9` finds it there, restores the device and begins anew, instead of taking our leavings for the
 * administrator's wishes. An alias that was set before is part of the record.
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
  /** Addresses that we are about to add. */
  readonly added: readonly string[];
}

const RECORD_MARK = 'vtepd adopted ';
/** IFALIASZ of the kernel, less its final zero byte. */
const ALIAS_MAX_LEN = 255;

/** Puts the device back as a killed daemon had found it. @returns the device as it is then */
export async function restoreLeftover(tap: Link): Promise<Link> {
  const record = parseRecord(tap.alias);
  if (!record) return tap;
  await restoreTap(tap.name, record);
  return (await findLink(tap.name)) ?? tap;
}

/** Notes what the device is like before it is changed. @param addresses that it is going to get, canonical */
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
  // A record too long for an alias is not written: a stop still restores everything, a killed daemon does not.
  const text = RECORD_MARK + JSON.stringify(record);
  if (Buffer.byteLength(text) <= ALIAS_MAX_LEN) await setLink(tap.name, 'alias', text);
  return record;
}

/** Makes the device what the record says, touching only what differs. Nothing happens when it is gone. */
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

/** @returns undefined for an alias that is no record of ours */
export function parseRecord(alias: string): TapRecord | undefined {
  if (!alias.startsWith(RECORD_MARK)) return undefined;
  try {
    const record = JSON.parse(alias.slice(RECORD_MARK.length)) as TapRecord;
    return Array.isArray(record.added) && Number.isInteger(record.mtu) ? record : undefined;
  } catch {
    return undefined;
  }
}

/** The former master may be gone by now: then the device is free. */
async function setMaster(name: string, master: string): Promise<void> {
  if (master !== '' && (await findLink(master))) return setLink(name, 'master', master);
  await setLink(name, 'nomaster');
}
