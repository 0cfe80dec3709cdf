/**
 * What can stand next on a command line: found by walking the same tree of commands that parses it, so it cannot be out of
 * date. VNIs and peers are asked of vtepd. Pure but for that question, which is handed in.
 */
import type { Argument, Command, Option } from 'commander';

/** A word that can stand there, and what it means. */
export interface Candidate {
  readonly word: string;
  readonly meaning: string;
}

/** Candidates; or the name of a file is expected, which shells know better. */
export type Completion = readonly Candidate[] | 'files';

/** Values that the running daemon knows. Empty when it cannot be asked. */
export interface LiveValues {
  readonly vnis: (options: WordOptions) => Promise<readonly Candidate[]>;
  readonly peers: (options: WordOptions) => Promise<readonly Candidate[]>;
}

/** Options that stand on the line, by their long names without hyphens. */
export type WordOptions = Readonly<Record<string, string>>;

/**
 * @param program the tree @param words what follows the program's name; the last one is being typed
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

/** Not where a value is expected. */
function subcommands(expected: string, { commands }: Command): Candidate[] {
  return expected.startsWith('<') ? [] : commands.filter(isShown).map(named);
}

interface Place {
  readonly command: Command;
  readonly options: WordOptions;
  /** What stands here: `<FILE>` of an option, `ADDR` of an argument, '' neither. */
  readonly expected: string;
  /** Words that are no options, behind the command's name. */
  readonly given: number;
}

/** Where the words have led. */
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

/** Of the command, and of those above it. */
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

/** `auto|N` of `--mtu <auto|N>`. */
function valueName(option: Option): string {
  return /[<[](.*)[>\]]$/.exec(option.flags)?.[1] ?? '';
}

/** By what the help calls the value. */
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

/** Commander's own mark for what its help leaves out. */
function isShown(command: Command): boolean {
  return !(command as unknown as { _hidden?: boolean })._hidden;
}
