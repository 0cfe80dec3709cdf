/**
 * What every command of vtepctl works with: the API, the options, a way to answer for machines or for people; and the
 * two kinds of mistakes. Commands know nothing of commander but how they are declared.
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { ValueError } from '../config/config-error.js';
import { parsePeerHost } from '../config/peer.js';
import { oneOf, parseVni } from '../config/values.js';
import { ApiClient } from './client.js';
import type { Surroundings } from './surroundings.js';

export const DEFAULT_API = '127.0.0.1:8789';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly api?: string;
  readonly tokenFile?: string;
  readonly json?: true;
}

export interface Session<O = object> {
  readonly client: ApiClient;
  readonly options: O & GlobalOptions;
  /** @param text for people, made only when they asked */
  readonly answer: (json: unknown, text: () => string) => void;
  readonly around: Surroundings;
  /** Set by a command that was asked for a judgement. */
  readonly verdict: Verdict;
}

export interface Verdict {
  bad: boolean;
}

export type Action<O> = (session: Session<O>, args: readonly string[]) => Promise<void>;

/** Makes of an action what commander calls. */
export type Runner = <O>(action: Action<O>) => (...given: unknown[]) => Promise<void>;

/** Adds a command, or several, to the program. */
export type Declare = (program: Command, run: Runner) => void;

/** The command line cannot be carried out. */
export class UsageError extends Error {}

/** This machine refused, or what was asked for is not there. */
export class Refusal extends Error {}

/** Runs actions of one command line. */
export function runner(around: Surroundings, verdict: Verdict): Runner {
  return (action) =>
    async (...given) => {
      const command = given.at(-1) as Command;
      const session = openSession<never>(command.optsWithGlobals(), around, verdict);
      try {
        await action(session, command.args);
      } finally {
        await session.client.close();
      }
    };
}

/** @throws UsageError for a place or a token that cannot be */
export function openSession<O>(
  options: O & GlobalOptions,
  around: Surroundings,
  verdict: Verdict,
): Session<O> {
  const { env } = around;
  const place = options.api ?? env.VTEPCTL_API ?? DEFAULT_API;
  const token = readToken(options.tokenFile, env.VTEPCTL_TOKEN_FILE);
  const client = parsed(
    options.api === undefined ? 'VTEPCTL_API' : '--api',
    place,
    (text) => new ApiClient(text, token),
  );
  const answer = (json: unknown, text: () => string) => {
    around.stdout(options.json ? `${JSON.stringify(json, null, 2)}\n` : text());
  };
  return { client, options, answer, around, verdict };
}

/** @returns '' without a file */
function readToken(byFlag: string | undefined, byEnvironment: string | undefined): string {
  const path = byFlag ?? byEnvironment ?? '';
  if (path === '') return '';
  const place = `${byFlag === undefined ? 'VTEPCTL_TOKEN_FILE' : '--token-file'} ${path}`;
  let token: string;
  try {
    token = readFileSync(path, 'utf8').trim();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UsageError(`${place}: cannot be read (${code ?? message}); name a file that holds the token`);
  }
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError(`${place}: must hold one token, printable and without spaces`);
}

/** @throws UsageError that names what was given, where, and what is allowed */
export function parsed<T>(name: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof ValueError) throw new UsageError(`${name} ${text}: ${error.message}`);
    throw error;
  }
}

type OptionRow<T> = [flags: string, help: string, parse: (text: string) => T];

/** An option as commander takes it. */
export function option<T>(flags: string, help: string, parse: (text: string) => T): OptionRow<T> {
  const [flag] = /--[a-z-]+/.exec(flags)!;
  return [flags, help, (text) => parsed(flag, text, parse)];
}

export const VNI_OPTION = option('--vni <ID>', 'which VNI (not needed where there is only one)', parseVni);
export const TYPE_OPTION = option(
  '--type <static|dynamic|all>',
  'only entries of this type',
  oneOf('static', 'dynamic', 'all'),
);
export const PEER_OPTION = option(
  '--peer <ADDR>',
  'only entries behind this peer; of a name, behind all its addresses',
  parsePeerHost,
);

export interface VniOption {
  readonly vni?: number;
}

/** Path of the VNI that was named, or of the only one there is. */
export async function vniPath(
  { client, options }: Session<VniOption>,
  named: number | undefined = options.vni,
): Promise<string> {
  if (named !== undefined) return `/v1/vnis/${named}`;
  const vnis = (await client.list<{ vni: number }>('/v1/vnis')).map(({ vni }) => vni);
  if (vnis.length === 1) return `/v1/vnis/${vnis[0]}`;
  const there = vnis.length === 0 ? 'there is none yet' : `there are ${vnis.join(', ')}`;
  throw new UsageError(`--vni ID is needed: ${there}`);
}

/** Path of a peer of that VNI. @throws UsageError */
export async function peerPath(session: Session<VniOption>, text: string): Promise<string> {
  const host = parsed('peer', text, parsePeerHost);
  return `${await vniPath(session)}/peers/${encodeURIComponent(host)}`;
}
