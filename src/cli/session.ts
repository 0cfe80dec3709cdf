/**
 * Session of a vtepctl command: API client, options, output, and the two error classes.
 *
 * Commands use commander only for their declaration.
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { ValueError } from '../config/config-error.js';
import { parsePeerHost } from '../config/peer.js';
import { oneOf, parseVni } from '../config/values.js';
import { ApiClient } from './client.js';
import type { Environment } from './environment.js';

export const DEFAULT_API = '127.0.0.1:8789';

/** Options of every command. */
export interface GlobalOptions {
  readonly api?: string;
  readonly tokenFile?: string;
  readonly json?: true;
}

export interface Session<O = object> {
  readonly client: ApiClient;
  readonly options: O & GlobalOptions;
  /**
   * Prints the result.
   *
   * @param json printed with --json
   * @param text makes the text that is printed without --json
   */
  readonly answer: (json: unknown, text: () => string) => void;
  readonly environment: Environment;
  /** Set by `probe`, `doctor` and `ready` if they find a problem. */
  readonly verdict: Verdict;
}

/** Makes the exit status 1 although the command succeeded. */
export interface Verdict {
  bad: boolean;
}

export type Action<O> = (session: Session<O>, args: readonly string[]) => Promise<void>;

/** Converts an action to a handler for commander. */
export type Runner = <O>(action: Action<O>) => (...given: unknown[]) => Promise<void>;

/** Adds one or more commands to the program. */
export type Declare = (program: Command, run: Runner) => void;

/** Invalid command line; exit status 2. */
export class UsageError extends Error {}

/** A failure on this machine, or an object that does not exist; exit status 1. */
export class Refusal extends Error {}

/** Makes the runner of one command line. */
export function runner(environment: Environment, verdict: Verdict): Runner {
  return (action) =>
    async (...given) => {
      const command = given.at(-1) as Command;
      const session = openSession<never>(command.optsWithGlobals(), environment, verdict);
      try {
        await action(session, command.args);
      } finally {
        await session.client.close();
      }
    };
}

/** @throws UsageError for an invalid API address or token file */
export function openSession<O>(
  options: O & GlobalOptions,
  environment: Environment,
  verdict: Verdict,
): Session<O> {
  const { env } = environment;
  const place = options.api ?? env.VTEPCTL_API ?? DEFAULT_API;
  const token = readToken(options.tokenFile, env.VTEPCTL_TOKEN_FILE);
  const client = parsed(
    options.api === undefined ? 'VTEPCTL_API' : '--api',
    place,
    (text) => new ApiClient(text, token),
  );
  const answer = (json: unknown, text: () => string) => {
    environment.stdout(options.json ? `${JSON.stringify(json, null, 2)}\n` : text());
  };
  return { client, options, answer, environment, verdict };
}

/** @returns the token; '' without a token file */
function readToken(byFlag: string | undefined, byEnvironment: string | undefined): string {
  const path = byFlag ?? byEnvironment ?? '';
  if (path === '') return '';
  const place = `${byFlag === undefined ? 'VTEPCTL_TOKEN_FILE' : '--token-file'} ${path}`;
  let token: string;
  try {
    token = readFileSync(path, 'utf8').trim();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UsageError(
      `${place}: cannot be read (${code ?? message}); name a file that contains the token`,
    );
  }
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError(`${place}: must contain one token of printable characters without spaces`);
}

/** @throws UsageError that names the option or argument, its value and the allowed values */
export function parsed<T>(name: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof ValueError) throw new UsageError(`${name} ${text}: ${error.message}`);
    throw error;
  }
}

type OptionRow<T> = [flags: string, help: string, parse: (text: string) => T];

/** Returns the arguments of commander's `option`. */
export function option<T>(flags: string, help: string, parse: (text: string) => T): OptionRow<T> {
  const [flag] = /--[a-z-]+/.exec(flags)!;
  return [flags, help, (text) => parsed(flag, text, parse)];
}

export const VNI_OPTION = option('--vni <ID>', 'VNI; may be omitted if there is only one', parseVni);
export const TYPE_OPTION = option(
  '--type <static|dynamic|all>',
  'only entries of this type',
  oneOf('static', 'dynamic', 'all'),
);
export const PEER_OPTION = option(
  '--peer <ADDR>',
  'only entries of this peer; for a name, of all its addresses',
  parsePeerHost,
);

export interface VniOption {
  readonly vni?: number;
}

/**
 * Returns the API path of the given VNI, or of the only VNI.
 *
 * @throws UsageError if no VNI is given and the number of configured VNIs is not one
 */
export async function vniPath(
  { client, options }: Session<VniOption>,
  named: number | undefined = options.vni,
): Promise<string> {
  if (named !== undefined) return `/v1/vnis/${named}`;
  const vnis = (await client.list<{ vni: number }>('/v1/vnis')).map(({ vni }) => vni);
  if (vnis.length === 1) return `/v1/vnis/${vnis[0]}`;
  throw new UsageError(`--vni ID is required; configured VNIs: ${vnis.join(', ') || 'none'}`);
}

/** Returns the API path of a peer. @throws UsageError for an invalid peer or a missing VNI */
export async function peerPath(session: Session<VniOption>, text: string): Promise<string> {
  const host = parsed('peer', text, parsePeerHost);
  return `${await vniPath(session)}/peers/${encodeURIComponent(host)}`;
}
