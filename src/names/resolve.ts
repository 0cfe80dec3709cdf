/**
 * Hosts of peers to addresses, once: an address is itself, a name is what this machine resolves it to (`lookup.ts`).
 * Names are followed by `follow.ts`.
 */
import { type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import { lookUp, ResolveError, SYSTEM } from './lookup.js';

export { ResolveError } from './lookup.js';

/** A last label of digits makes no name (RFC 1123 §2.1); getaddrinfo would read `10.1` as 10.0.0.1. */
const ENDS_IN_NUMBER = /(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?$/i;

/**
 * @param host an address, or a name
 * @returns the address itself, or all of the name's, each once; never empty
 * @throws ResolveError
 */
export async function resolveHost(host: string): Promise<readonly IpAddress[]> {
  const literal = parseIpAddress(host);
  if (literal) return [literal];
  refuseNoName(host);
  return (await lookUp(host, SYSTEM)).addresses;
}

/** @throws ResolveError for what neither DNS nor the hosts file can have */
export function refuseNoName(host: string): void {
  if (host !== '' && !/[\s:%/]/.test(host) && !ENDS_IN_NUMBER.test(host)) return;
  throw new ResolveError(
    `"${host}" is neither an address nor a name: write 192.0.2.1, 2001:db8::1 or a DNS name`,
  );
}
