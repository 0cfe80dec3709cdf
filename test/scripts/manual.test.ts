/** Man pages: complete, up to date, and accepted by mandoc and groff. */
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

t.test('the pages contain every flag and command', async (t) => {
  for (const key of [...KEYS.map(flagOf), '--config', '--check', '--vni', '--peer']) {
    t.match(pages['vtepd.8'], `.It Fl Fl \\&${key.slice(2).replaceAll('-', '\\-')}`, key);
  }
  for (const command of ['vni \\&set', 'peer \\&del', 'top', 'capture', 'completion']) {
    t.match(pages['vtepctl.8'], `.It Cm \\&${command}`, command);
  }
  for (const [page, text] of Object.entries(pages)) {
    t.notMatch(text, /@/, `${page}: no placeholder is left`);
    t.notMatch(text, 'Cm \\&complete ', 'the internal command of shell completion is hidden');
  }
});

t.test('the pages are built, and listed in package.json', async (t) => {
  const { man } = JSON.parse(readFileSync('package.json', 'utf8'));
  t.strictSame(
    man,
    PAGES.map((page) => `dist/man/${page}`),
  );
  for (const page of PAGES) t.equal(readFileSync(`dist/man/${page}`, 'utf8'), pages[page], page);
});

t.test('mandoc reports no problem', { skip: missingTool('mandoc') }, async (t) => {
  for (const [page, text] of Object.entries(pages)) {
    const { stdout, status } = spawnSync('mandoc', ['-T', 'lint', '-W', 'style'], {
      input: text,
      encoding: 'utf8',
    });
    const lines = stdout.split('\n').filter((line) => !EXPECTED.test(line));
    t.strictSame(lines.filter(Boolean), [], page);
    t.ok(status !== null, 'mandoc ran');
  }
});

/** Expected remarks of mandoc on the system's name, long lines and references. */
const EXPECTED =
  /operating system explicitly specified|input text line longer than 80 bytes|referenced manual not found/;

t.test('groff renders the pages', { skip: missingTool('groff') }, async (t) => {
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
