/**
 * docs/interface.md lists all flags, commands, problem codes, drop reasons, warnings, notices and
 * metrics.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { PROBLEMS } from '../src/api/errors.js';
import { makeProgram } from '../src/cli/vtepctl.js';
import { flagOf, KEYS, SETTINGS } from '../src/config/schema.js';
import { DROP_REASONS } from '../src/exchange/drop-reason.js';
import { codesOf, REPORTS, type ReportCode } from '../src/exchange/report.js';
import { controlOverPlainDataPlane } from './support/control.js';

const doc = readFileSync('docs/interface.md', 'utf8');
/** Row of problem codes and their HTTP status: | `peer_exists`, `vni_exists` | 409 | */
const CODE_ROW = /^\| (`\w+`(, )?)+ \| \d{3}\b/;

t.test('every flag has a row with its argument, key and default', async (t) => {
  for (const key of KEYS) {
    const { argument, defaultText } = SETTINGS[key];
    const row = doc.split('\n').find((line) => line.startsWith(`| \`${flagOf(key)} `));
    if (row === undefined) {
      t.fail(`${flagOf(key)} has no row`);
      continue;
    }
    t.match(
      row,
      `\`${flagOf(key)} ${argument.replaceAll('|', '\\|')}\``,
      `the row of ${flagOf(key)} has the argument`,
    );
    t.match(row, `\`${key}\``, `the row of ${flagOf(key)} has the key`);
    if (defaultText !== '')
      t.match(row.replaceAll('\\|', ''), `| ${defaultText} |`, `the row of ${flagOf(key)} has the default`);
  }
});

t.test('every command of vtepctl has a row with its options', async (t) => {
  const program = makeProgram(
    () => async () => {},
    () => {},
  );
  const leaves = program
    .createHelp()
    .visibleCommands(program)
    .flatMap((command) => {
      const subs = command.commands.map((sub) => ({
        words: `${command.name()} ${sub.name()}`,
        command: sub,
      }));
      return subs.length > 0 ? subs : [{ words: command.name(), command }];
    });
  for (const { words, command } of leaves) {
    const row = doc.split('\n').find((line) => line.startsWith(`| \`vtepctl ${words}`));
    t.ok(row, `vtepctl ${words} has a row`);
    // Skipped: flags of settings, which have rows of their own, and --vni, which is described once.
    const known = ['--vni', ...KEYS.map(flagOf)];
    const own = command.options.filter(({ long }) => !known.includes(long!));
    for (const { short, long } of own)
      t.match(row ?? '', short ?? long!, `the row of vtepctl ${words} has ${long}`);
  }
});

t.test('every problem code and drop reason has a row', async (t) => {
  for (const [code, [status]] of Object.entries(PROBLEMS)) {
    const row = doc.split('\n').find((line) => CODE_ROW.test(line) && line.includes(`\`${code}\``));
    t.match(row, new RegExp(`\\| ${status}\\b`), `${code} has a row with status ${status}`);
  }
  for (const [reason, help] of DROP_REASONS.slice(1))
    t.match(doc, `| \`${reason}\` | ${help} |`, `${reason} has a row`);
});

t.test('the tables of warnings, notices and reasons have exactly the codes of the code', async (t) => {
  for (const kind of ['warning', 'notice'] as const)
    t.same(rowsOf(kind).sort(), codesOf(kind).sort(), `the table of ${kind}s is complete`);
  const blocking = (Object.keys(REPORTS) as ReportCode[]).filter((code) => REPORTS[code].blocksReady);
  t.same(rowsOf('reason', 'Readiness').sort(), ['dataplane_down', ...blocking].sort());
});

/** Returns the codes in the first column of the table with this header, in a section. */
function rowsOf(header: string, section = 'Warnings and notices'): string[] {
  const [, text = ''] = doc.split(`### ${section}\n`);
  const [, rows = ''] = text.split(`| ${header} | meaning |\n`);
  const [table] = rows.split('\n\n');
  return table
    .split('\n')
    .flatMap((row) => [...row.split(' | ')[0].matchAll(/`(\w+)`/g)].map(([, code]) => code));
}

t.test('every metric has a row with its type', async (t) => {
  const { server } = await controlOverPlainDataPlane();
  t.teardown(() => server.close());
  const { body } = await server.inject('/metrics');
  const names = [...body.matchAll(/^# TYPE (vtepd_\S+) (\S+)$/gm)];
  const documented = [...doc.matchAll(/`(vtepd_\w+)`/g)].map(([, name]) => name);
  t.strictSame(
    new Set(documented),
    new Set(names.map(([, name]) => name)),
    'docs/interface.md lists exactly the metrics of /metrics',
  );
  for (const [, name, type] of names) {
    const row = doc.split('\n').find((line) => line.startsWith('| `vtepd_') && line.includes(`\`${name}\``));
    t.match(row, ` | ${type} | `, `the row of ${name} has type ${type}`);
  }
});
