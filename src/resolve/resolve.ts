/**
 * Names of peers to addresses, as this machine resolves them (getaddrinfo(3): hosts file, DNS, whatever
 * nsswitch.conf says). Once, at start and when a peer is added; names are not followed.
 */
import { lookup } from 'node:dns/promises';
import { type IpAddress, parseIpAddress } from '../wire/ip-address.js';

/** A name that has no address. The message names it, the cause and the cure. */
export class ResolveError extends Error {
  override readonly name = 'ResolveError';
}

/** A last label of digits makes no name (RFC 1123 §2.1); getaddrinfo would read `10.1` as 10.0.0.1. */
const ENDS_IN_NUMBER = /(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?$/i;

const CAUSES: Readonly<Record<string, string>> = {
  ENOTFOUND: 'no such name; check its spelling, or give the address',
  EAI_AGAIN: 'no name server answered; check /etc/resolv.conf, or give the address',
};

/**
 * @param host an address, or a name
 * @returns the address itself, or all of the name's, each once, in the resolver's order; never empty
 * @throws ResolveError
 */
export async function resolveHost(host: string): Promise<IpAddress[]> {
  const literal = parseIpAddress(host);
  if (literal) return [literal];
  if (host === '' || /[\s:%/]/.test(host) || ENDS_IN_NUMBER.test(host)) {
    throw new ResolveError(
      `"${host}" is neither an address nor a name: write 192.0.2.1, 2001:db8::1 or a DNS name`,
    );
  }
  return distinct(host, await lookUp(host));
}

async function lookUp(host: string): Promise<string[]> {
  try {
    return (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw new ResolveError(`cannot resolve "${host}": ${CAUSES[code] ?? code}`);
  }
}

function distinct(host: string, texts: readonly string[]): IpAddress[] {
  const addresses = new Map<string, IpAddress>();
  for (const text of texts) {
    const address = parseIpAddress(text);
    if (address) addresses.set(address.text, address);
  }
  if (addresses.size === 0) throw new ResolveError(`cannot resolve "${host}": the name has no address`);
  return [...addresses.values()];
}
