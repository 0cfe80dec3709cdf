/**
 * Man pages, in mdoc(7). The prose stands in docs/man; flags and commands come from the very trees that parse them:
 *
 *     .\" @options    a list of the program's options
 *     .\" @commands   a list of all commands with their arguments and options
 *     @VERSION@       the version of the package
 *
 * `npm run build` writes the pages to dist/man. No I/O here.
 */
import { makeCommand } from '../dist/cli/flags.js';
import { makeProgram } from '../dist/cli/vtepctl.js';
import { Source } from '../dist/config/source.js';
import { packageVersion } from '../dist/config/version.js';

/** Pages by name: the tree of commands each. */
const PROGRAMS = {
  'vtepd.8': () => makeCommand(new Source()),
  // Nothing is run here.
  'vtepctl.8': () =>
    makeProgram(
      () => async () => {},
      () => {},
    ),
};

export const PAGES = Object.keys(PROGRAMS);

/** @param prose the page's text from docs/man */
export function manualPage(page, prose) {
  const program = PROGRAMS[page]();
  return prose
    .replace('.\\" @options', () => optionList(program.createHelp().visibleOptions(program)))
    .replace('.\\" @commands', () => commandList(program))
    .replaceAll('@VERSION@', packageVersion());
}

function optionList(options) {
  const items = options
    .filter(({ hidden }) => !hidden)
    .map(({ flags, description }) => [
      `.It ${flags.split(', ').map(flagMacro).join(' , ')}`,
      sentence(description),
    ]);
  return ['.Bl -tag -width Ds', ...items.flat(), '.El'].join('\n');
}

/** `-w, --write <FILE>` by its parts. */
function flagMacro(text) {
  const [, hyphens, name, value] = /^(--?)(\S+)(?: (.*))?$/.exec(text);
  return `Fl ${hyphens === '--' ? `Fl ${word(name)}` : word(name)}${value === undefined ? '' : ` ${valueMacro(value)}`}`;
}

function valueMacro(value) {
  const name = word(value.slice(1, -1));
  return value.startsWith('[') ? `Op Ar ${name}` : `Ar ${name}`;
}

function commandList(program) {
  const items = leaves(program).map(({ words, command }) => {
    const title = [`.It Cm ${words.map(word).join(' ')}`, ...command.registeredArguments.map(argumentMacro)];
    const options = command.options.length > 0 ? [optionList(command.options)] : [];
    return [title.join(' '), sentence(command.description()), ...options].join('\n');
  });
  return ['.Bl -tag -width Ds', ...items, '.El'].join('\n');
}

function argumentMacro(argument) {
  return `Ar ${word(argument.name())}`;
}

/** Commands that do something, in the order of the help, each with the words that lead there. */
function leaves(command, words = []) {
  const shown = command.createHelp().visibleCommands(command);
  if (shown.length === 0) return [{ words, command }];
  return shown.flatMap((sub) => leaves(sub, [...words, sub.name()]));
}

/** Text of its own line: it begins with no control character, and ends like a sentence. */
function sentence(text) {
  const whole = text.endsWith('.') ? text : `${text}.`;
  // "off: …" explains a word, which stays as it is written.
  const first = /^\w+:/.test(whole) ? whole[0] : whole[0].toUpperCase();
  return escaped(first + whole.slice(1)).replace(/^([.'])/, '\\&$1');
}

/** An argument of a macro, which mdoc could take for a macro or for punctuation. A line may break after its bars. */
function word(text) {
  return `\\&${escaped(text).replaceAll(' ', '\\ ').replaceAll('|', '|\\:')}`;
}

function escaped(text) {
  return text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('"', '\\(dq');
}
