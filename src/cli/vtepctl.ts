/**
 * vtepctl: looks at a running vtepd and changes its peers and FDB through the control API. Words and layout follow
 * `ip` and `bridge`: silent when a change succeeded, a table when something was asked.
 *
 * Exit codes: 0 done, or all is well; 1 vtepd refused or cannot be reached, a path does not carry what it should or
 * nobody knows, the doctor found something; 2 the command line is wrong.
 */
import { Command, CommanderError } from 'commander';
import { ValueError } from '../config/config-error.js';
import { type PeerText, parsePeer, parsePeerHost } from '../config/peer.js';
import { oneOf, parseDeviceMac, parseVni } from '../config/values.js';
import { packageVersion } from '../version.js';
import type { Counters, FdbEntry, Finding, Peer, PeerProbe, ProbeStep, Status } from './answers.js';
import { ApiClient, ApiFailure } from './client.js';
import {
  countersText,
  doctorText,
  fdbText,
  peersText,
  probeStepText,
  probeText,
  statusText,
} from './vtepctl-text.js';

const STANDARD_API = '127.0.0.1:8789';

/** The world as vtepctl sees it. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Shows one line in place of the last, for whoever watches; '' removes it. */
  readonly progress: (line: string) => void;
  /** Looks at this machine without a daemon. */
  readonly doctor: () => Promise<readonly Finding[]>;
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
}

/** @param argv without node and script. @returns the exit code */
export async function vtepctl(argv: readonly string[], around: Surroundings): Promise<number> {
  const verdict = { bad: false };
  const command = makeCommand(around, verdict);
  try {
    await command.parseAsync(argv, { from: 'user' });
    return verdict.bad ? 1 : 0;
  } catch (error) {
    if (error instanceof CommanderError) return commanderExit(error, around);
    if (!(error instanceof UsageError || error instanceof ApiFailure)) throw error;
    around.stderr(`vtepctl: ${error.message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** The command line cannot be carried out. */
class UsageError extends Error {}

interface Options {
  readonly api?: string;
  readonly json?: true;
  readonly vni?: number;
  readonly type?: string;
  readonly peer?: string;
}

/** What a command works with: the API, and a way to answer for machines or for people. */
interface Session {
  readonly client: ApiClient;
  readonly options: Options;
  /** @param text for people, made only when they asked */
  readonly answer: (json: unknown, text: () => string) => void;
  readonly around: Surroundings;
  /** Set by a command that was asked for a judgement. */
  readonly verdict: Verdict;
}

interface Verdict {
  bad: boolean;
}

function makeCommand(surroundings: Surroundings, verdict: Verdict): Command {
  const around = { surroundings, verdict };
  const program = new Command('vtepctl')
    .description('Looks at a running vtepd and changes its peers and FDB.')
    .option(
      '--api <HOST:PORT|unix:PATH>',
      `where vtepd listens (default: $VTEPCTL_API, else ${STANDARD_API})`,
    )
    .option('--json', 'print JSON, as the API answers it')
    .helpOption('--help', 'print this and exit')
    .helpCommand(false)
    .version(packageVersion(), '--version', 'print the version and exit')
    .configureOutput({ writeOut: surroundings.stdout, writeErr: () => {} })
    .exitOverride();

  program.command('status').description('version, underlay, VNIs and warnings').action(run(around, status));
  program
    .command('counters')
    .description('frames and bytes by VNI and peer, drops by reason')
    .option(...VNI_OPTION)
    .action(run(around, counters));
  program
    .command('probe <ADDR>')
    .description('search what the path to a peer carries; exit 1 if the overlay does not fit it')
    .option(...VNI_OPTION)
    .action(run(around, probe));
  program
    .command('doctor')
    .description('look for what keeps frames from arriving; exit 1 if there is something')
    .action(run(around, doctor));

  const peer = program.command('peer').description('remote VTEPs of a VNI').helpCommand(false);
  peer
    .command('list')
    .option(...VNI_OPTION)
    .action(run(around, peerList));
  peer
    .command('add <ADDR[,port=P][,flood=off]>')
    .option(...VNI_OPTION)
    .action(run(around, peerAdd));
  peer
    .command('del <ADDR>')
    .option(...VNI_OPTION)
    .action(run(around, peerDel));

  const fdb = program.command('fdb').description('forwarding table of a VNI').helpCommand(false);
  fdb
    .command('show')
    .option(...VNI_OPTION)
    .option(...TYPE_OPTION)
    .option(...PEER_OPTION)
    .action(run(around, fdbShow));
  fdb
    .command('add <MAC> <PEER>')
    .description('static entry')
    .option(...VNI_OPTION)
    .action(run(around, fdbAdd));
  fdb
    .command('del <MAC>')
    .option(...VNI_OPTION)
    .action(run(around, fdbDel));
  fdb
    .command('flush')
    .description('remove learned entries, or what --type says')
    .option(...VNI_OPTION)
    .option(...TYPE_OPTION)
    .option(...PEER_OPTION)
    .action(run(around, fdbFlush));
  return program;
}

const VNI_OPTION: [string, string, (text: string) => number] = [
  '--vni <ID>',
  'which VNI (not needed where there is only one)',
  (text) => parsed('--vni', text, parseVni),
];
const TYPE_OPTION: [string, string, (text: string) => string] = [
  '--type <static|dynamic|all>',
  'only entries of this type',
  (text) => parsed('--type', text, oneOf('static', 'dynamic', 'all')),
];
const PEER_OPTION: [string, string, (text: string) => string] = [
  '--peer <ADDR>',
  'only entries behind this peer',
  (text) => parsed('--peer', text, parsePeerHost),
];

async function status({ client, answer }: Session): Promise<void> {
  const found = await client.call<Status>('GET', '/v1/status');
  answer(found, () => statusText(found));
}

async function counters({ client, options, answer }: Session): Promise<void> {
  const all = await client.call<Counters>('GET', '/v1/counters');
  const vnis = all.vnis.filter(({ vni }) => options.vni === undefined || vni === options.vni);
  if (vnis.length === 0) throw new ApiFailure(`VNI ${options.vni} is not configured`, 'vni_not_found');
  const chosen = { ...all, vnis };
  answer(chosen, () => countersText(chosen));
}

async function peerList(session: Session, _args: readonly string[], nowMs: number): Promise<void> {
  const items = await session.client.list<Peer>(`${await vniPath(session)}/peers`);
  session.answer({ items, nextCursor: null }, () => peersText(items, nowMs));
}

async function probe(session: Session, [text]: readonly string[]): Promise<void> {
  const { client, around, verdict, answer } = session;
  const host = parsed('peer', text, parsePeerHost);
  const path = `${await vniPath(session)}/peers/${encodeURIComponent(host)}/probe`;
  const found = await client
    .follow<PeerProbe>(path, (step) => around.progress(probeStepText(host, step as ProbeStep)))
    .finally(() => around.progress(''));
  verdict.bad = !found.good;
  answer(found, () => probeText(found));
}

async function doctor({ client, around, verdict, answer }: Session): Promise<void> {
  const findings = await client.call<{ items: Finding[] }>('GET', '/v1/doctor').then(
    ({ items }) => items,
    async (error: ApiFailure) => {
      // A daemon that does not run is a finding of its own; the machine may say why.
      if (error.code !== '') throw error;
      return [notRunning(error), ...(await around.doctor())];
    },
  );
  verdict.bad = findings.length > 0;
  answer({ items: findings }, () => doctorText(findings));
}

function notRunning({ message }: ApiFailure): Finding {
  const why = 'no frame is carried, and only what this machine shows was looked at';
  return { code: 'not_running', what: message, why, cure: 'start vtepd' };
}

async function peerAdd(session: Session, [text]: readonly string[]): Promise<void> {
  const peer: PeerText = parsed('peer', text, parsePeer);
  const body = {
    address: peer.host,
    ...(peer.port !== undefined && { port: peer.port }),
    ...(peer.flood !== undefined && { flood: peer.flood }),
  };
  const path = await vniPath(session, peer.vni);
  const added = await session.client.call<Peer>('POST', `${path}/peers`, body);
  session.answer(added, () => '');
}

async function peerDel(session: Session, [text]: readonly string[]): Promise<void> {
  const host = parsed('peer', text, parsePeerHost);
  await session.client.call('DELETE', `${await vniPath(session)}/peers/${encodeURIComponent(host)}`);
  session.answer({}, () => '');
}

async function fdbShow(session: Session): Promise<void> {
  const { type, peer } = session.options;
  const query = { limit: '1000', ...(type && { type }), ...(peer && { peer }) };
  const items = await session.client.list<FdbEntry>(`${await vniPath(session)}/fdb`, query);
  session.answer({ items, nextCursor: null }, () => fdbText(items));
}

async function fdbAdd(session: Session, [mac, peer]: readonly string[]): Promise<void> {
  const body = { peer: parsed('peer', peer, parsePeerHost) };
  await session.client.call('PUT', await entryPath(session, mac), body);
  session.answer({}, () => '');
}

async function fdbDel(session: Session, [mac]: readonly string[]): Promise<void> {
  await session.client.call('DELETE', await entryPath(session, mac));
  session.answer({}, () => '');
}

async function fdbFlush(session: Session): Promise<void> {
  const { type = 'dynamic', peer } = session.options;
  const query = new URLSearchParams({ type, ...(peer && { peer }) });
  const path = `${await vniPath(session)}/fdb?${query}`;
  const flushed = await session.client.call<{ removed: number }>('DELETE', path);
  session.answer(flushed, () => `${flushed.removed} removed\n`);
}

async function entryPath(session: Session, mac: string): Promise<string> {
  return `${await vniPath(session)}/fdb/${parsed('MAC', mac, parseDeviceMac)}`;
}

/** The VNI that was named, or the only one there is. */
async function vniPath({ client, options }: Session, named = options.vni): Promise<string> {
  if (named !== undefined) return `/v1/vnis/${named}`;
  const vnis = (await client.list<{ vni: number }>('/v1/vnis')).map(({ vni }) => vni);
  if (vnis.length === 1) return `/v1/vnis/${vnis[0]}`;
  throw new UsageError(`--vni ID is needed: there are ${vnis.join(', ')}`);
}

type Action = (session: Session, args: readonly string[], nowMs: number) => Promise<void>;

/** An action as commander calls it: arguments, options, the command. */
function run(
  { surroundings: around, verdict }: { surroundings: Surroundings; verdict: Verdict },
  action: Action,
): (...given: unknown[]) => Promise<void> {
  return async (...given) => {
    const command = given.at(-1) as Command;
    const options = command.optsWithGlobals<Options>();
    const place = options.api ?? around.env.VTEPCTL_API ?? STANDARD_API;
    const client = parsed(
      options.api === undefined ? 'VTEPCTL_API' : '--api',
      place,
      (text) => new ApiClient(text),
    );
    const answer = (json: unknown, text: () => string) => {
      around.stdout(options.json ? `${JSON.stringify(json, null, 2)}\n` : text());
    };
    try {
      await action({ client, options, answer, around, verdict }, command.args, around.nowMs());
    } finally {
      await client.close();
    }
  };
}

/** @throws UsageError that names what was given, where, and what is allowed */
function parsed<T>(name: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof ValueError) throw new UsageError(`${name} ${text}: ${error.message}`);
    throw error;
  }
}

/** Help and version were printed already; anything else is a mistake on the command line. */
function commanderExit(error: CommanderError, { stderr }: Surroundings): number {
  if (error.exitCode === 0) return 0;
  const nothingAsked = error.code === 'commander.help';
  const message = nothingAsked
    ? 'no command given'
    : error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  stderr(`vtepctl: ${message} ("vtepctl --help" lists the commands)\n`);
  return 2;
}
