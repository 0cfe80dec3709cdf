/**
 * Completion of command lines: candidates for the next word.
 *
 * It walks the command tree that also parses the line, so each candidate can be parsed. VNIs and
 * peers come from vtepd, through the injected `LiveValues`; all other functions are pure.
 */
import type { Argument, Command, Option } from 'commander';

/** A possible word and its description. */
export interface Candidate {
  readonly word: string;
  readonly meaning: string;
}

/** Candidates; or 'files' if a file name is expected, which the shell itself completes. */
export type Completion = readonly Candidate[] | 'files';

/** Values of the running daemon. Empty if the daemon cannot be reached. */
export interface LiveValues {
  readonly vnis: (options: WordOptions) => Promise<readonly Candidate[]>;
  readonly peers: (options: WordOptions) => Promise<readonly Candidate[]>;
}

/** Options of the line, by long name without hyphens. */
export type WordOptions = Readonly<Record<string, string>>;

/**
 * @param program root of the command tree
 * @param words words after the program's name; the last one is incomplete
 */
export async function complete(
  program: Command,
  words: readonly string[],
  live: LiveValues,
): Promise<Completion> {
  const { command, options, expected, given } = walk(program, words.slice(0, -1));
  const typed = words.at(-1) ?? '';
  const found = typed.startsWith('-') && !expected.startsWith('<') ? optionsOf(command) : await wordsOf();
  return found === 'files' ? found : found.filter(({ word }) => word.startsWith(typed));

  async function wordsOf(): Promise<Completion> {
    const values = await valuesOf(expected, options, live);
    return values === 'files' ? values : [...(given === 0 ? subcommands(expected, command) : []), ...values];
  }
}

/** Returns the subcommands; none where a value is expected. */
function subcommands(expected: string, { commands }: Command): Candidate[] {
  return expected.startsWith('<') ? [] : commands.filter(isShown).map(named);
}

interface Place {
  readonly command: Command;
  readonly options: WordOptions;
  /** Expected value: `<FILE>` of an option, `ADDR` of an argument, '' for none. */
  readonly expected: string;
  /** Number of arguments after the command's name, without options. */
  readonly given: number;
}

/** Walks the tree along the words. */
function walk(program: Command, words: readonly string[]): Place {
  let command = program;
  let given = 0;
  const options: Record<string, string> = {};
  for (let index = 0; index < words.length; index++) {
    const word = words[index];
    if (word.startsWith('-')) {
      const option = optionOf(command, word);
      if (option === undefined || !option.required) continue;
      if (index === words.length - 1) {
        return { command, options, expected: `<${valueName(option)}>`, given };
      }
      options[option.name()] = words[++index];
    } else {
      const sub = command.commands.find((candidate) => candidate.name() === word);
      if (sub === undefined) given++;
      else command = sub;
    }
  }
  const argument = command.registeredArguments[given] as Argument | undefined;
  return { command, options, expected: argument?.name() ?? '', given };
}

/** Finds an option of the command or of its ancestors. */
function optionOf(command: Command | null, word: string): Option | undefined {
  if (command === null) return undefined;
  return (
    command.options.find((option) => [option.short, option.long].includes(word)) ??
    optionOf(command.parent, word)
  );
}

function optionsOf(command: Command | null): Candidate[] {
  if (command === null) return [];
  const own = command.options.map((option) => ({
    word: option.long ?? option.flags,
    meaning: option.description,
  }));
  return [...own, ...optionsOf(command.parent)];
}

/** Returns `auto|N` for `--mtu <auto|N>`. */
function valueName(option: Option): string {
  return /[<[](.*)[>\]]$/.exec(option.flags)?.[1] ?? '';
}

/** Returns the candidates for a value; the placeholder of the value in the help selects them. */
async function valuesOf(expected: string, options: WordOptions, live: LiveValues): Promise<Completion> {
  const name = expected.replace(/^<(.*)>$/, '$1');
  if (name === 'FILE') return 'files';
  if (name === 'ID') return live.vnis(options);
  if (name === 'ADDR' || name === 'PEER') return live.peers(options);
  return name
    .split('|')
    .filter((word) => /^[a-z][a-z0-9-]*$/.test(word))
    .map((word) => ({ word, meaning: '' }));
}

function named(command: Command): Candidate {
  return { word: command.name(), meaning: command.description() };
}

/** Returns false for commands that commander hides from its help. */
function isShown(command: Command): boolean {
  return !(command as unknown as { _hidden?: boolean })._hidden;
}
