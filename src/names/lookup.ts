/**
 * One lookup of a name: its addresses, and how long they may be used.
 *
 * Two resolvers are asked at the same time, each for what it alone knows. *getaddrinfo(3)* says the addresses: it is how every
 * other program of this machine resolves (hosts file before DNS, search domains, whatever nsswitch.conf says), so that
 * `getent ahosts NAME` shows what vtepd sends to. It does not tell how long they hold. *DNS* is asked for that (RFC 1035 §3.2.1);
 * its TTL counts where its records are the addresses that getaddrinfo gave. Else the name comes from somewhere
 * that has no TTL.
 *
 * A lookup of which one family failed is not whole: getaddrinfo then gives the other family as if that were all. DNS tells the two
 * apart ("there is none" or no answer), and what is not known is said here, so that it is not taken for a removal.
 *
 * Called by `follow.ts`, and for a host that is looked up once by `resolve.ts`. No cache, no time.
 */
import { lookup, Resolver } from 'node:dns/promises';
import { type IpAddress, isMulticastAddress, isUnspecified, parseIpAddress } from '../wire/ip-address.js';

export type Family = 4 | 6;
const FAMILIES: readonly Family[] = [4, 6];

/** What DNS may take to tell a TTL, ms: it is asked once, as the next lookup asks again. */
const RECORDS_MS = 1500;

/** The two ways to ask. Both reject with an error whose `code` says why. */
export interface NameSource {
  /** As this machine resolves; never empty. */
  readonly addresses: (name: string) => Promise<string[]>;
  /** Records of DNS of one family with their TTLs, s. */
  readonly records: (name: string, family: Family) => Promise<readonly { address: string; ttl: number }[]>;
}

export interface Resolution {
  /** Each once, in the order of their texts; never empty. */
  readonly addresses: readonly IpAddress[];
  /** Seconds for which they may be used; undefined: where they come from has no such thing. */
  readonly ttlS: number | undefined;
  /** Families that may have addresses that are not among them. */
  readonly unknown: readonly Family[];
}

/** A name that has no address. The message names it, the cause and the cure. */
export class ResolveError extends Error {
  override readonly name = 'ResolveError';
}

/** "No such name", "no such record": an answer, not a failure. */
const NONE = ['ENOTFOUND', 'ENODATA'];

const CAUSES: Readonly<Record<string, string>> = {
  ENOTFOUND: 'no such name; check its spelling, or give the address',
  EAI_AGAIN: 'no name server answered; check /etc/resolv.conf, or give the address',
};

/** This machine's. */
export const SYSTEM: NameSource = {
  addresses: async (name) =>
    (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address),
  // One a question: it reads resolv.conf when it is made, and that may have changed.
  records: (name, family) => {
    const resolver = new Resolver({ timeout: RECORDS_MS, tries: 1 });
    return family === 4 ? resolver.resolve4(name, { ttl: true }) : resolver.resolve6(name, { ttl: true });
  },
};

/** @param name a DNS name, never an address @throws ResolveError */
export async function lookUp(name: string, source: NameSource): Promise<Resolution> {
  const [texts, ...records] = await Promise.all([
    source.addresses(name).catch((error: NodeJS.ErrnoException) => cause(error)),
    ...FAMILIES.map((family) => recordsOf(name, family, source)),
  ]);
  if (typeof texts === 'string') throw new ResolveError(`cannot resolve "${name}": ${texts}`);
  const addresses = distinct(texts);
  if (addresses.length === 0)
    throw new ResolveError(`cannot resolve "${name}": the name has no address that a peer could have`);
  const unknown = FAMILIES.filter(
    (family, i) => records[i] === undefined && !addresses.some((address) => address.family === family),
  );
  return { addresses, ttlS: ttlOf(addresses, records), unknown };
}

/** @returns TTL by canonical address, or undefined: DNS did not answer */
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

/** The shortest of them; undefined unless all are DNS's. */
function ttlOf(
  addresses: readonly IpAddress[],
  records: readonly (ReadonlyMap<string, number> | undefined)[],
): number | undefined {
  const ttls = addresses.map(({ text, family }) => records[FAMILIES.indexOf(family)]?.get(text));
  return ttls.some((ttl) => ttl === undefined) ? undefined : Math.min(...(ttls as number[]));
}

/** Those of one host, each once, in an order that is not the resolver's, who turns them round from lookup to lookup. */
function distinct(texts: readonly string[]): IpAddress[] {
  const addresses = new Map<string, IpAddress>();
  for (const text of texts) {
    const address = parseIpAddress(text);
    if (address && !isMulticastAddress(address) && !isUnspecified(address))
      addresses.set(address.text, address);
  }
  return [...addresses.values()].sort((a, b) => (a.text < b.text ? -1 : 1));
}

function cause(error: NodeJS.ErrnoException): string {
  const code = error.code ?? error.message;
  return CAUSES[code] ?? code;
}
