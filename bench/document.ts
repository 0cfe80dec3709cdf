/**
 * Puts results into docs/performance.md: what stands between these two lines belongs to the benchmark, all else to
 * whoever writes the page.
 *
 *     <!-- bench:NAME -->
 *     <!-- /bench:NAME -->
 *
 * Pictures go to docs/performance/. A section that this run has nothing for says so: no page mixes runs.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Picture, picturesOf } from './pictures.js';
import { type Section, sectionsOf } from './report.js';
import type { Results } from './results.js';

const PAGE = 'docs/performance.md';
const PICTURES = 'docs/performance';

/** @throws Error with one line, for results that the page must not show: those of a short run, or of some cells only */
export function refuseParts({ options: { short, only }, date }: Results): void {
  if (short) throw new Error(`--save: the run of ${date} was a short one; its figures mean nothing`);
  if (only) throw new Error(`--save: the run of ${date} was one of --only ${only}; the page shows all cells`);
}

/** @param root the project @returns files written, from the root @throws Error when the page has lost its marks */
export function saveDocument(results: Results, root = process.cwd()): string[] {
  const page = readFileSync(join(root, PAGE), 'utf8');
  const pictures = picturesOf(results);
  const filled = fillPage(page, sectionsOf(results), pictures);
  rmSync(join(root, PICTURES), { recursive: true, force: true });
  mkdirSync(join(root, PICTURES));
  for (const { name, svg } of pictures) writeFileSync(join(root, fileOf(name)), svg);
  writeFileSync(join(root, PAGE), filled);
  return [PAGE, ...pictures.map(({ name }) => fileOf(name))];
}

const MARKED = /(<!-- bench:([\w-]+) -->\n)[\s\S]*?(<!-- \/bench:\2 -->)/g;
const NOTHING = '*Not measured in this run.*';

/** The page with every marked section replaced. @throws Error when there is none, or one has no end */
export function fillPage(page: string, sections: readonly Section[], pictures: readonly Picture[]): string {
  const opened = [...page.matchAll(/<!-- bench:/g)].length;
  const whole = [...page.matchAll(MARKED)].length;
  if (whole === 0 || whole !== opened) {
    throw new Error(`${PAGE}: ${opened} sections begin with <!-- bench:NAME -->, ${whole} of them end`);
  }
  return page.replaceAll(MARKED, (_, begin: string, name: string, end: string) => {
    const body = sections.find((section) => section.name === name)?.body ?? NOTHING;
    const shown = pictures.filter(({ section }) => section === name).map(imageLine);
    return `${begin}\n${[body, ...shown].join('\n\n')}\n\n${end}`;
  });
}

/** The page lies beside the directory of its pictures. */
function imageLine({ name, title }: Picture): string {
  return `![${title}](performance/${name}.svg)`;
}

function fileOf(name: string): string {
  return `${PICTURES}/${name}.svg`;
}
