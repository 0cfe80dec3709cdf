/** Reads the kernel's neighbour table (`ip neighbour`): IPv4 address to MAC, by device. */

import { ip } from '../host/ip-command.js';
import { parseIpAddress } from '../wire/ip-address.js';
import { parseMac } from '../wire/mac.js';

export interface Neighbour {
  readonly mac: { readonly high: number; readonly low: number };
  /** Four bytes. */
  readonly ip: Uint8Array;
}

/**
 * Returns the neighbours with a MAC on the given devices.
 * @param devices names
 * @throws HostError
 */
export async function ipv4Neighbours(devices: readonly string[]): Promise<Neighbour[]> {
  const found = (await ip(['-4', 'neighbour', 'show'])) as RawNeighbour[];
  return neighboursOn(devices, found);
}

interface RawNeighbour {
  readonly dst?: string;
  readonly dev?: string;
  readonly lladdr?: string;
}

export function neighboursOn(devices: readonly string[], raw: readonly RawNeighbour[]): Neighbour[] {
  return raw.flatMap(({ dst = '', dev = '', lladdr = '' }) => {
    const address = parseIpAddress(dst);
    const mac = parseMac(lladdr);
    if (address?.family !== 4 || mac === undefined || !devices.includes(dev)) return [];
    return [{ mac, ip: address.bytes.slice(0, 4) }];
  });
}
