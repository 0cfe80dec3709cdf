/** Neighbours of this machine on the overlay, from the kernel's neighbour table. */
import { dumpNeighbours } from '../host/netlink/neighbours.js';
import { parseIpAddress } from '../wire/ip-address.js';

export interface Neighbour {
  readonly mac: { readonly high: number; readonly low: number };
  /** Four bytes. */
  readonly ip: Uint8Array;
}

/**
 * Returns the IPv4 neighbours with a MAC on the given devices.
 *
 * @param devices interface indexes
 * @throws HostError
 */
export async function ipv4Neighbours(devices: readonly number[]): Promise<Neighbour[]> {
  const found = (await dumpNeighbours()).filter(({ index }) => devices.includes(index));
  return found.map(({ address, mac }) => {
    const view = new DataView(mac.buffer, mac.byteOffset, mac.length);
    return {
      mac: { high: view.getUint16(0), low: view.getInt32(2) },
      ip: parseIpAddress(address)!.bytes.slice(0, 4),
    };
  });
}
