/**
 * Resolves the host of a peer once: an address literal, or a name (`lookup.ts`).
 *
 * `follow.ts` repeats the lookups of a name.
 */
import { type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import { lookUp, ResolveError, SYSTEM } from './lookup.js';

export { ResolveError } from './lookup.js';

/**
 * Matches text whose last label is a number. Such text is not a name (RFC 1123 §2.1), and
 * getaddrinfo would parse `10.1` as 10.0.0.1.
 */
const ENDS_IN_NUMBER = /(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?$/i;

/**
 * @param host an address or a name
 * @returns the address itself, or all distinct addresses of the name; never empty
 * @throws ResolveError if the host is invalid or does not resolve
 */
export async function resolveHost(host: string): Promise<readonly IpAddress[]> {
  const literal = parseIpAddress(host);
  if (literal) return [literal];
  rejectInvalidName(host);
  return (await lookUp(host, SYSTEM)).addresses;
}

/** @throws ResolveError for text that neither DNS nor the hosts file can contain */
export function rejectInvalidName(host: string): void {
  if (host !== '' && !/[\s:%/]/.test(host) && !ENDS_IN_NUMBER.test(host)) return;
  throw new ResolveError(
    `"${host}" is neither an address nor a name: write 192.0.2.1, 2001:db8::1 or a DNS name`,
  );
}
