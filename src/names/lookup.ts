/**
 * One lookup of a name: its addresses and their validity.
 *
 * Two resolvers are queried at the same time. *getaddrinfo(3)* provides the addresses. Every other
 * program of this machine resolves names in this manner (hosts file before DNS, search domains,
 * nsswitch.conf), so `getent ahosts NAME` shows the addresses that vtepd uses. getaddrinfo does not
 * provide a TTL. *DNS* provides the TTL (RFC 1035 §3.2.1), which applies if DNS has a record for
 * every address from getaddrinfo. Otherwise the addresses come from a source without TTLs.
 *
 * If the lookup of one address family fails, getaddrinfo returns the addresses of the other family
 * as if the name had no other addresses. DNS distinguishes "no records" from "no answer". The
 * result therefore lists the address families without an answer, so that a failure is not mistaken
 * for a removal.
 *
 * Called by `follow.ts`, and by `resolve.ts` for a single lookup of a host. It has no cache and no
 * clock.
 */
import { lookup, Resolver } from 'node:dns/promises';
import { type IpAddress, isMulticastAddress, isUnspecified, parseIpAddress } from '../wire/ip-address.js';

export type Family = 4 | 6;
const FAMILIES: readonly Family[] = [4, 6];

/**
 * Timeout of the DNS query for a TTL, ms. The query is not retried, because the next lookup repeats
 * it.
 */
const RECORDS_MS = 1500;

/** The two resolvers. Both reject with an error whose `code` is the cause. */
export interface NameSource {
  /** Addresses from the system resolver; never empty. */
  readonly addresses: (name: string) => Promise<string[]>;
  /** DNS records of one family with their TTLs, s. */
  readonly records: (name: string, family: Family) => Promise<readonly { address: string; ttl: number }[]>;
}

export interface Resolution {
  /** Distinct addresses in the order of getaddrinfo (RFC 6724 §6); never empty. */
  readonly addresses: readonly IpAddress[];
  /** Validity of the addresses, s; undefined if their source has no TTL. */
  readonly ttlS: number | undefined;
  /** Address families whose addresses are unknown after a failure. */
  readonly unknown: readonly Family[];
}

/** A name without addresses. The message contains the name, the cause and the remedy. */
export class ResolveError extends Error {
  override readonly name = 'ResolveError';
}

/** Codes of the answers "no such name" and "no such record", which are not failures. */
const NONE = ['ENOTFOUND', 'ENODATA'];

const CAUSES: Readonly<Record<string, string>> = {
  ENOTFOUND: 'no such name; check its spelling, or give the address',
  EAI_AGAIN: 'no name server answered; check /etc/resolv.conf, or give the address',
};

/** Resolvers of this machine. */
export const SYSTEM: NameSource = {
  addresses: async (name) =>
    (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address),
  // A new resolver per query reads the current resolv.conf.
  records: (name, family) => {
    const resolver = new Resolver({ timeout: RECORDS_MS, tries: 1 });
    return family === 4 ? resolver.resolve4(name, { ttl: true }) : resolver.resolve6(name, { ttl: true });
  },
};

/**
 * @param name a DNS name, never an address
 * @throws ResolveError if the name has no address
 */
export async function lookUp(name: string, source: NameSource): Promise<Resolution> {
  const [texts, ...records] = await Promise.all([
    source.addresses(name).catch((error: NodeJS.ErrnoException) => cause(error)),
    ...FAMILIES.map((family) => recordsOf(name, family, source)),
  ]);
  if (typeof texts === 'string') throw new ResolveError(`cannot resolve "${name}": ${texts}`);
  const addresses = distinct(texts);
  if (addresses.length === 0)
    throw new ResolveError(`cannot resolve "${name}": the name has no unicast address`);
  const unknown = FAMILIES.filter(
    (family, i) => records[i] === undefined && !addresses.some((address) => address.family === family),
  );
  return { addresses, ttlS: ttlOf(addresses, records), unknown };
}

/** @returns TTLs, indexed by canonical address; undefined if DNS did not answer */
async function recordsOf(
  name: string,
  family: Family,
  source: NameSource,
): Promise<Map<string, number> | undefined> {
  try {
    const records = await source.records(name, family);
    return new Map(records.map(({ address, ttl }) => [parseIpAddress(address)?.text ?? address, ttl]));
  } catch (error) {
    return NONE.includes((error as NodeJS.ErrnoException).code ?? '') ? new Map() : undefined;
  }
}

/** Returns the shortest TTL; undefined if DNS lacks a record for any address. */
function ttlOf(
  addresses: readonly IpAddress[],
  records: readonly (ReadonlyMap<string, number> | undefined)[],
): number | undefined {
  const ttls = addresses.map(({ text, family }) => records[FAMILIES.indexOf(family)]?.get(text));
  return ttls.some((ttl) => ttl === undefined) ? undefined : Math.min(...(ttls as number[]));
}

/** Returns the distinct unicast addresses in their order. */
function distinct(texts: readonly string[]): IpAddress[] {
  const addresses = new Map<string, IpAddress>();
  for (const text of texts) {
    const address = parseIpAddress(text);
    if (address && !isMulticastAddress(address) && !isUnspecified(address))
      addresses.set(address.text, address);
  }
  return [...addresses.values()];
}

function cause(error: NodeJS.ErrnoException): string {
  const code = error.code ?? error.message;
  return CAUSES[code] ?? code;
}
