/**
 * Command line of vtepd: flags from the schema, merged with the file of `--config`.
 *
 * The result is a complete configuration or a text to print. Nothing is started here.
 */
import { existsSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { ConfigError } from '../config/config-error.js';
import { readConfigFile } from '../config/file.js';
import { mergeSettings, requireVnis } from '../config/merge.js';
import { suggestion } from '../config/nearest.js';
import { flagOf, KEYS, type Key } from '../config/schema.js';
import type { Settings } from '../config/settings.js';
import { Source } from '../config/source.js';
import { packageVersion } from '../config/version.js';
import { settingFlags, settingHelp } from './setting-option.js';

export type CommandLine =
  | {
      readonly kind: 'run';
      readonly settings: Settings;
      /** True for --check: validate the configuration and exit. */
      readonly check: boolean;
      /** Path of the configuration file; '' for none. */
      readonly config: string;
    }
  | { readonly kind: 'print'; readonly text: string };

/**
 * @param argv arguments without node and script
 * @param terminal true if the log goes to a terminal
 * @throws ConfigError for an invalid flag, file or combination
 */
export function parseCommandLine(
  argv: readonly string[],
  terminal = process.stderr.isTTY === true,
): CommandLine {
  const given = new Source();
  const command = makeCommand(given);
  let printed = '';
  command.configureOutput({ writeOut: (text) => (printed += text), writeErr: () => {} });
  try {
    command.parse(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: 'print', text: printed };
    throw new ConfigError(usageMessage(error, argv, command));
  }
  const { config, check } = command.opts<{ config?: string; check?: true }>();
  const sources = config === undefined ? [given] : [given, readConfigFile(config)];
  const settings = mergeSettings(sources, terminal);
  // The state file may contain VNIs.
  if (settings.state.path === '' || !existsSync(settings.state.path)) requireVnis(settings, sources);
  return { kind: 'run', settings, check: check === true, config: config ?? '' };
}

/**
 * Builds the command of vtepd, for parsing, completion and the man page.
 *
 * @param given source that receives the values
 */
export function makeCommand(given: Source): Command {
  const command = new Command('vtepd')
    .description('Userspace VXLAN VTEP daemon (RFC 7348).')
    .usage('--vni ID --peer ADDR [flags]')
    .helpOption('--help', 'print this help and exit')
    .version(packageVersion(), '--version', 'print the version and exit')
    .allowExcessArguments(false)
    .exitOverride();
  command.addOption(
    new Option('--vni <ID>', 'VXLAN network identifier, 0 to 16777215 (repeatable)').argParser((text) => {
      given.addVni('--vni', text);
    }),
  );
  command.addOption(
    new Option(
      '--peer <ADDR[,vni=ID][,port=P][,flood=on|off][,all=on|off]>',
      'remote VTEP: IPv4 address, IPv6 address or DNS name; without vni= it is a peer of every VNI ; all=on: each address of the name is a peer (repeatable)',
    ).argParser((text) => given.all.addPeer('--peer', text)),
  );
  for (const key of KEYS) command.addOption(settingOption(key, given));
  return command
    .addOption(
      new Option('--config <FILE>', 'YAML configuration file; flags take precedence over it').argParser(
        once('--config'),
      ),
    )
    .addOption(new Option('--check', 'validate flags and file, and exit'));
}

function settingOption(key: Key, given: Source): Option {
  return new Option(settingFlags(key), settingHelp(key)).argParser((value) =>
    given.all.add(key, flagOf(key), value),
  );
}

function once(flag: string): (text: string, before: string | undefined) => string {
  return (text, before) => {
    if (before === undefined) return text;
    throw new ConfigError(`${flag} ${text}: given twice, first ${before}; give it once`);
  };
}

/** Converts commander's message, which may have two lines and begin with "error:", to one line. */
function usageMessage(error: CommanderError, argv: readonly string[], command: Command): string {
  const flags = command.options.map((option) => option.long!).concat('--help');
  switch (error.code) {
    case 'commander.unknownOption': {
      const [, flag = ''] = /'([^']*)'/.exec(error.message) ?? [];
      return `${flag}: unknown flag${suggestion(flag, flags) || HELP_HINT}`;
    }
    case 'commander.optionMissingArgument': {
      const option = command.options.find((candidate) => candidate.long === argv.at(-1));
      return `${argv.at(-1)}: needs a value: ${option?.flags.replace(/^\S+ /, '') ?? ''}`;
    }
    case 'commander.excessArguments':
      return `${command.args[0]}: not a flag; vtepd has no other arguments${HELP_HINT}`;
    default:
      return error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  }
}

const HELP_HINT = ' ("vtepd --help" lists the flags)';
