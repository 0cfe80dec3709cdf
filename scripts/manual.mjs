/**
 * Generator of the man pages, in mdoc(7).
 *
 * The text is in docs/man; flags and commands come from the command trees that parse them:
 *
 *     .\" @options    a list of the program's options
 *     .\" @commands   a list of all commands with their arguments and options
 *     @VERSION@       the version of the package
 *
 * `npm run build` writes the pages to dist/man. This module does no I/O.
 */
import { makeCommand } from '../dist/cli/flags.js';
import { makeProgram } from '../dist/cli/vtepctl.js';
import { Source } from '../dist/config/source.js';
import { packageVersion } from '../dist/config/version.js';

/** Command tree of each page. */
const PROGRAMS = {
  'vtepd.8': () => makeCommand(new Source()),
  // The commands are only listed, never run.
  'vtepctl.8': () =>
    makeProgram(
      () => async () => {},
      () => {},
    ),
};

export const PAGES = Object.keys(PROGRAMS);

/** @param prose text of the page from docs/man @returns the complete page */
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

/** One part of flags such as `-w, --write <FILE>`, as a macro. */
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

/** Commands without subcommands, in the order of the help, each with its full name. */
function leaves(command, words = []) {
  const shown = command.createHelp().visibleCommands(command);
  if (shown.length === 0) return [{ words, command }];
  return shown.flatMap((sub) => leaves(sub, [...words, sub.name()]));
}

/** A text line: it begins with no control character and ends with a full stop. */
function sentence(text) {
  const whole = text.endsWith('.') ? text : `${text}.`;
  // The first word of "off: …" is a value, which keeps its case.
  const first = /^\w+:/.test(whole) ? whole[0] : whole[0].toUpperCase();
  return escaped(first + whole.slice(1)).replace(/^([.'])/, '\\&$1');
}

/**
 * A macro argument, escaped so that mdoc reads it neither as a macro nor as punctuation. A line may
 * break after its bars.
 */
function word(text) {
  return `\\&${escaped(text).replaceAll(' ', '\\ ').replaceAll('|', '|\\:')}`;
}

function escaped(text) {
  return text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('"', '\\(dq');
}
