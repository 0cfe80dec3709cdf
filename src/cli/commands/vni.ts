/**
 * Commands `vni`: list, show, add, change and remove VNIs.
 *
 * Settings have the same flags and rules as in vtepd, from the same schema. Requests use the YAML
 * keys.
 *
 * Concurrent operators do not overwrite each other's changes: `set` sends the ETag that it has just
 * read, or the ETag of --if-match, which the user copies from the output of `show`.
 */
import { Option } from 'commander';
import type { VniView } from '../../api/views.js';
import { parsePeer } from '../../config/peer.js';
import { flagOf, type Key, SETTINGS, VNI_KEYS } from '../../config/schema.js';
import { oneOf, parseVni } from '../../config/values.js';
import { type Declare, parsed, type Session, UsageError } from '../session.js';
import { settingFlags, settingHelp } from '../setting-option.js';
import { vnisText, vniText } from '../vtepctl-text.js';
import { peerBody } from './peer.js';

/** Values by key, in the form of the API. */
type Values = Partial<Record<Key, unknown>>;

interface AddOptions extends Values {
  readonly peer?: readonly object[];
}

interface ChangeOptions extends Values {
  readonly default?: Values;
  readonly ifMatch?: string;
}

/** Keys of settings that can change; name and MAC of a VNI's TAP cannot. */
const CHANGEABLE = VNI_KEYS.filter((key) => key !== 'tap' && key !== 'mac');

export const declareVni: Declare = (program, run) => {
  const vni = program.command('vni').description('VXLAN networks (VNIs)').helpCommand(false);
  vni.command('list').description('list all VNIs').action(run(list));
  vni.command('show <ID>').description('show a VNI with all its settings').action(run(show));
  const add = vni.command('add <ID>').description('add a VNI, its TAP and its peers').addOption(peerOption());
  for (const key of VNI_KEYS) add.addOption(settingOption(key, settingHelp(key)));
  add.action(run(addVni));
  const set = vni.command('set <ID>').description('change settings of a running VNI');
  // The help shows no defaults, because `set` does not change omitted settings.
  for (const key of CHANGEABLE) set.addOption(settingOption(key, SETTINGS[key].help));
  set
    .addOption(defaultOption())
    .option('--if-match <ETAG>', 'only if the ETag of the VNI is still this one; "vni show" prints it')
    .action(run(setVni));
  vni
    .command('del <ID>')
    .description('remove a VNI, its peers and its TAP')
    .option('--if-match <ETAG>', 'only if the ETag of the VNI is still this one; "vni show" prints it')
    .action(run(del));
};

async function list({ client, answer }: Session): Promise<void> {
  const items = await client.list<VniView>('/v1/vnis');
  answer({ items, nextCursor: null }, () => vnisText(items));
}

async function show({ client, answer }: Session, [id]: readonly string[]): Promise<void> {
  const { found, etag } = await client.read<VniView>(pathOf(id));
  answer({ ...found, ...(etag && { etag }) }, () => vniText(found, etag));
}

async function addVni(
  { client, options, answer }: Session<AddOptions>,
  [id]: readonly string[],
): Promise<void> {
  const peers = options.peer && { peers: options.peer };
  const body = { vni: parsed('VNI', id, parseVni), ...valuesOf(options), ...peers };
  const added = await client.call<object>('POST', '/v1/vnis', { body });
  answer(added, () => '');
}

async function setVni(
  { client, options, answer }: Session<ChangeOptions>,
  [id]: readonly string[],
): Promise<void> {
  const path = pathOf(id);
  const body = { ...valuesOf(options), ...options.default };
  if (Object.keys(body).length === 0)
    throw new UsageError('vni set: no setting given ("vtepctl vni set --help" lists the settings)');
  const ifMatch = options.ifMatch ?? (await client.read(path)).etag;
  const changed = await client.call<object>('PATCH', path, { body, ifMatch });
  answer(changed ?? {}, () => '');
}

async function del(
  { client, options, answer }: Session<ChangeOptions>,
  [id]: readonly string[],
): Promise<void> {
  const { ifMatch } = options;
  await client.call('DELETE', pathOf(id), ifMatch === undefined ? {} : { ifMatch });
  answer({}, () => '');
}

function pathOf(id: string): string {
  return `/v1/vnis/${parsed('VNI', id, parseVni)}`;
}

/** Returns the flag of a setting. The flag has a parser to the form of the API. */
function settingOption(key: Key, help: string): Option {
  const { parse, repeatable } = SETTINGS[key];
  const value = (text: string) => parsed(flagOf(key), text, parse as (text: string) => unknown);
  return new Option(settingFlags(key), help).argParser<unknown>((text, before) => {
    if (repeatable) return [...((before as unknown[]) ?? []), value(text)];
    if (before !== undefined) throw new UsageError(`${flagOf(key)} ${text}: given twice; give it once`);
    return value(text);
  });
}

function peerOption(): Option {
  return new Option(
    '--peer <ADDR[,port=P][,flood=on|off][,all=on|off]>',
    'remote VTEP (repeatable)',
  ).argParser<object[]>((text, before = []) => {
    const peer = parsed('--peer', text, parsePeer);
    if (peer.vni === undefined) return [...before, peerBody(peer)];
    throw new UsageError(`--peer ${text}: is a peer of the VNI that is added; remove vni=`);
  });
}

/** Returns the option `--default`, which sends null; the API resets a setting that is null. */
function defaultOption(): Option {
  const words = CHANGEABLE.map(wordOf);
  const keyOf = oneOf(...words);
  return new Option(
    `--default <${words.join('|')}>`,
    'reset this setting to its default (repeatable)',
  ).argParser<Values>((text, before = {}) => ({
    ...before,
    [CHANGEABLE[words.indexOf(parsed('--default', text, keyOf))]]: null,
  }));
}

/** Returns the flag without its leading hyphens. */
function wordOf(key: Key): string {
  return flagOf(key).slice(2);
}

function valuesOf(options: Values): Values {
  return Object.fromEntries(
    VNI_KEYS.flatMap((key) => (options[key] === undefined ? [] : [[key, options[key]]])),
  );
}
