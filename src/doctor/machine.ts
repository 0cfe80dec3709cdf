/**
 * Reads facts about this machine from netlink, `nft` and /proc; changes nothing.
 *
 * Facts that cannot be read are left out, and cause no finding.
 */
import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { dumpAddresses } from '../host/netlink/addresses.js';
import { dumpLinks } from '../host/netlink/links.js';
import { acceptsRedirects, obeying } from '../host/obedience.js';
import type { ConntrackFacts, MachineFacts, Obedience } from './facts.js';

const RP_FILTER_DIR = '/proc/sys/net/ipv4/conf';
const CONNTRACK = '/proc/sys/net/netfilter/nf_conntrack';
const TIMEOUT_MS = 5000;
/** Longest ruleset, bytes; the ruleset of kube-proxy has several megabytes. */
const MAX_RULESET_LEN = 64 * 1024 * 1024;
/** Lines of the connection table to read: enough to identify the port that fills it. */
const MAX_CONNECTIONS = 300_000;

/**
 * @param port UDP port whose tracked connections are counted
 * @param stackDevices names of devices whose obedience is read
 */
export async function readMachine(port: number, stackDevices: readonly string[] = []): Promise<MachineFacts> {
  const [links, addresses, ruleset, rpFilter, netstat, snmp, snmp6, conntrack] = await Promise.all([
    dumpLinks().catch(() => []),
    dumpAddresses().catch(() => []),
    readRuleset(),
    readRpFilter(),
    readOr('/proc/net/netstat'),
    readOr('/proc/net/snmp'),
    readOr('/proc/net/snmp6'),
    readConntrack(port),
  ]);
  const hasIpv4 = new Set(addresses.filter(({ family }) => family === 4).map(({ index }) => index));
  const routed = new Set(links.filter(({ index }) => hasIpv4.has(index)).map(({ name }) => name));
  const udp6 = Number(/^Udp6InCsumErrors\s+(\d+)/m.exec(snmp6)?.[1] ?? 0);
  return {
    links,
    ruleset,
    rpFilter,
    rpFilterDrops: counterIn(netstat, 'TcpExt', 'IPReversePathFilter'),
    udpChecksumErrors: counterIn(snmp, 'Udp', 'InCsumErrors') + udp6,
    obedience: readObedience(stackDevices, routed),
    conntrack,
  };
}

/**
 * One counter of /proc/net/snmp or netstat; 0 if absent.
 *
 * Each group has a line of names and a line of values:
 *
 *     Udp: InDatagrams NoPorts InErrors …
 *     Udp: 4711 2 0 …
 */
export function counterIn(text: string, group: string, name: string): number {
  const [names, values] = text
    .split('\n')
    .filter((line) => line.startsWith(`${group}: `))
    .map((line) => line.split(' '));
  const column = names?.indexOf(name) ?? -1;
  return column < 0 ? 0 : Number(values?.[column] ?? 0);
}

function readRuleset(): Promise<unknown[]> {
  const env = { ...process.env, PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin` };
  return new Promise((resolve) => {
    const options = { env, timeout: TIMEOUT_MS, maxBuffer: MAX_RULESET_LEN };
    execFile('nft', ['-json', 'list', 'ruleset'], options, (error, stdout) => {
      resolve(error ? [] : rulesetIn(stdout));
    });
  });
}

export function rulesetIn(json: string): unknown[] {
  try {
    const { nftables } = JSON.parse(json) as { nftables?: unknown };
    return Array.isArray(nftables) ? nftables : [];
  } catch {
    return [];
  }
}

async function readRpFilter(): Promise<Map<string, number>> {
  const devices = await readdir(RP_FILTER_DIR).catch(() => []);
  const values = await Promise.all(devices.map((device) => readOr(`${RP_FILTER_DIR}/${device}/rp_filter`)));
  return new Map(devices.map((device, i) => [device, Number(values[i])]));
}

/** @param routed names of devices with an IPv4 address; a redirect can change no route of others */
function readObedience(devices: readonly string[], routed: ReadonlySet<string>): Map<string, Obedience> {
  const found = new Map<string, Obedience>();
  for (const name of devices) {
    const obedience = { redirects: routed.has(name) && acceptsRedirects(name), ipv6: obeying(name) };
    if (obedience.redirects || obedience.ipv6.length > 0) found.set(name, obedience);
  }
  return found;
}

async function readConntrack(port: number): Promise<ConntrackFacts | undefined> {
  const entries = Number(await readOr(`${CONNTRACK}_count`));
  const max = Number(await readOr(`${CONNTRACK}_max`));
  if (!(entries > 0 && max > 0)) return undefined;
  return { entries, max, ofPort: await countConnections(port) };
}

async function countConnections(port: number): Promise<number> {
  const ofPort = new RegExp(`\\budp\\b.*\\bdport=${port}\\b`);
  let seen = 0;
  let found = 0;
  try {
    for await (const line of createInterface({ input: createReadStream('/proc/net/nf_conntrack') })) {
      if (++seen > MAX_CONNECTIONS) break;
      if (ofPort.test(line)) found++;
    }
  } catch {
    // If the kernel has no such file or the file is not readable, no connection is counted.
  }
  return found;
}

function readOr(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
