/** Man pages: every flag and command, and clean to those who read mdoc. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { flagOf, KEYS } from '../../src/config/schema.js';
import { missingTool } from '../support/tool.js';

const MANUAL = new URL('../../scripts/manual.mjs', import.meta.url).href;
const { manualPage, PAGES } = (await import(MANUAL)) as {
  manualPage: (page: string, prose: string) => string;
  PAGES: readonly string[];
};

const pages = Object.fromEntries(
  PAGES.map((page) => [page, manualPage(page, readFileSync(`docs/man/${page}.mdoc`, 'utf8'))]),
);

t.test('complete', async (t) => {
  for (const key of [...KEYS.map(flagOf), '--config', '--check', '--vni', '--peer']) {
    t.match(pages['vtepd.8'], `.It Fl Fl \\&${key.slice(2).replaceAll('-', '\\-')}`, key);
  }
  for (const command of ['vni \\&set', 'peer \\&del', 'top', 'capture', 'completion']) {
    t.match(pages['vtepctl.8'], `.It Cm \\&${command}`, command);
  }
  for (const [page, text] of Object.entries(pages)) {
    t.notMatch(text, /@/, `${page}: nothing is left to fill in`);
    t.notMatch(text, 'Cm \\&complete ', 'what shells call is no command for people');
  }
});

t.test('built, and named in package.json', async (t) => {
  const { man } = JSON.parse(readFileSync('package.json', 'utf8'));
  t.strictSame(
    man,
    PAGES.map((page) => `dist/man/${page}`),
  );
  for (const page of PAGES) t.equal(readFileSync(`dist/man/${page}`, 'utf8'), pages[page], page);
});

t.test('mandoc has nothing to say', { skip: missingTool('mandoc') }, async (t) => {
  for (const [page, text] of Object.entries(pages)) {
    const { stdout, status } = spawnSync('mandoc', ['-T', 'lint', '-W', 'style'], {
      input: text,
      encoding: 'utf8',
    });
    const lines = stdout.split('\n').filter((line) => !EXPECTED.test(line));
    t.strictSame(lines.filter(Boolean), [], page);
    t.ok(status !== null, 'it ran');
  }
});

/** The system's name in the footer is ours; sources of ours are wide. */
const EXPECTED =
  /operating system explicitly specified|input text line longer than 80 bytes|referenced manual not found/;

t.test('groff shows it', { skip: missingTool('groff') }, async (t) => {
  for (const [page, text] of Object.entries(pages)) {
    const { stdout, stderr } = spawnSync('groff', ['-mdoc', '-T', 'utf8', '-P', '-cbou', '-ww'], {
      input: text,
      encoding: 'utf8',
    });
    t.equal(stderr, '', page);
    t.match(stdout, /EXIT STATUS/);
    if (page === 'vtepd.8') t.match(stdout, /--fdb.limit N\n/);
    else t.match(stdout, /vni set ID\n/);
  }
});
