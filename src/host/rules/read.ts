/**
 * Reads what rules this host has for packets: nftables, legacy iptables, policy routing, BPF.
 *
 * nft(8) is a process, and runs only where netlink says that there are tables. Legacy iptables is
 * never asked by IPT_SO_GET_INFO, because the question creates the tables that it is about.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Shim } from '../../abi/binding.js';
import { HostError } from '../host-error.js';
import { countNftTables } from '../netlink/nft-tables.js';
import { dumpPolicyRules, type PolicyRule } from '../netlink/rules.js';
import { Ruleset } from './ruleset.js';

/** Hooks of programs on a control group, in the order in which a sent datagram passes them. */
export type ProgramHook = 'sendmsg' | 'egress' | 'ingress';

/** Each member reads one kind of rules as it is at this moment. */
export interface RulesReader {
  /** @throws HostError */
  nft(): Promise<Ruleset>;
  /** @throws HostError */
  policyRules(): Promise<PolicyRule[]>;
  /** Tables of legacy iptables, as `ip filter`; '' none. @throws HostError */
  legacyTables(): string;
  /** Hooks at which programs run for the packets of this process. */
  programs(): readonly ProgramHook[];
}

export function rulesReader(shim: Shim): RulesReader {
  return {
    nft: readNft,
    policyRules: dumpPolicyRules,
    legacyTables: readLegacyTables,
    programs: () => readPrograms(shim),
  };
}

const NFT_TIMEOUT_MS = 10_000;
const NFT_OUTPUT_MAX = 512 << 20;

async function readNft(): Promise<Ruleset> {
  return new Ruleset((await countNftTables()) === 0 ? [] : await listRuleset());
}

function listRuleset(): Promise<readonly unknown[]> {
  // The sbin folders hold nft on most distributions, and the PATH of services often lacks them.
  const env = { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin` };
  const options = { timeout: NFT_TIMEOUT_MS, killSignal: 'SIGKILL', maxBuffer: NFT_OUTPUT_MAX, env } as const;
  return new Promise((resolve, reject) => {
    execFile('nft', ['--json', 'list', 'ruleset'], options, (error, stdout, stderr) => {
      if (error)
        return reject(new HostError(`the rules of nftables cannot be read: ${reason(error, stderr)}`));
      try {
        const { nftables } = JSON.parse(stdout) as { nftables?: unknown };
        if (!Array.isArray(nftables)) throw new SyntaxError('no list of rules');
        resolve(nftables);
      } catch (error) {
        const { message } = error as Error;
        reject(
          new HostError(`the rules of nftables cannot be read: nft printed other than JSON: ${message}`),
        );
      }
    });
  });
}

function reason(error: Error & { code?: unknown; killed?: boolean }, stderr: string): string {
  if (error.code === 'ENOENT') return 'nft is not installed';
  if (error.killed === true) return `nft has not ended within ${NFT_TIMEOUT_MS / 1000} s`;
  const [line] = (stderr || error.message).trim().split('\n');
  return `nft: ${line}`;
}

/** Tables that are registered, one name a line; absent where the module is not loaded. */
const LEGACY_NAMES = [
  ['ip', '/proc/net/ip_tables_names'],
  ['ip6', '/proc/net/ip6_tables_names'],
] as const;

function readLegacyTables(): string {
  return LEGACY_NAMES.flatMap(([family, path]) => linesOf(path).map((name) => `${family} ${name}`)).join(
    ', ',
  );
}

/** @throws HostError when the file is there but cannot be read */
function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    throw new HostError(`rules of legacy iptables possibly exist: ${path} cannot be read (${code})`);
  }
}

/** Kinds of programs (enum bpf_attach_type) by hook. */
const PROGRAM_TYPES: readonly (readonly [ProgramHook, readonly number[]])[] = [
  ['sendmsg', [14, 15]],
  ['egress', [1]],
  ['ingress', [0]],
];

/** Where a hierarchy of version 2 is mounted: alone, or beside version 1. */
const CGROUP_ROOTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'];

/**
 * A hook that cannot be asked counts as one without programs: a process that may not ask may not
 * load the programs of a shortcut either.
 */
function readPrograms(shim: Shim): readonly ProgramHook[] {
  const group = ownGroup();
  if (group === undefined) return [];
  const has = (type: number) => CGROUP_ROOTS.some((root) => shim.cgroupPrograms(root + group, type) > 0);
  return PROGRAM_TYPES.filter(([, types]) => types.some(has)).map(([hook]) => hook);
}

/** Path of the own control group of version 2 (cgroups(7)). */
function ownGroup(): string | undefined {
  try {
    return /^0::(\/.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}
