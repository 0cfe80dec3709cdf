/**
 * Writer of sections and pictures into the documents. It replaces the text between these marks:
 *
 *     <!-- bench:NAME -->
 *     <!-- /bench:NAME -->
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { Section } from './report.js';
import { barChart } from './svg.js';

const DOCUMENTS = ['docs/performance.md', 'docs/performance/notebook.md'];
const PICTURES = 'docs/performance';
const MARKED = /(<!-- bench:([\w-]+) -->\n)[\s\S]*?(<!-- \/bench:\2 -->)/g;

/** @param root directory of the project @returns files written @throws Error like fillPage */
export function saveDocuments(sections: readonly Section[], root = process.cwd()): string[] {
  const pages = DOCUMENTS.map((file) => [
    file,
    fillPage(readFileSync(join(root, file), 'utf8'), sections, file),
  ]);
  const pictures = sections.flatMap((section) => section.pictures);
  const images = pictures.map((picture) => [`${PICTURES}/${picture.name}.svg`, barChart(picture)]);
  for (const name of readdirSync(join(root, PICTURES)).filter((one) => one.endsWith('.svg')))
    rmSync(join(root, PICTURES, name));
  for (const [file, content] of [...pages, ...images]) writeFileSync(join(root, file), content);
  return [...pages, ...images].map(([file]) => file);
}

/**
 * Replaces all marked sections, so that a page has the results of one run only.
 *
 * @throws Error for a mark without an end
 */
export function fillPage(page: string, sections: readonly Section[], file: string): string {
  const [begun, whole] = [/<!-- bench:/g, MARKED].map((pattern) => [...page.matchAll(pattern)].length);
  if (whole === 0 || whole !== begun) throw new Error(`${file}: ${begun} marks, ${whole} with an end`);
  return page.replaceAll(MARKED, (_, begin: string, name: string, end: string) => {
    const { body, pictures } = sections.find((section) => section.name === name) ?? NOTHING;
    const path = relative(dirname(file), PICTURES);
    const images = pictures.map((picture) => `![${picture.title}](${join(path, picture.name)}.svg)`);
    return `${begin}\n${[body, images.join('\n')].join('\n\n').trimEnd()}\n\n${end}`;
  });
}

const NOTHING: Pick<Section, 'body' | 'pictures'> = { body: '*Not measured in this run.*', pictures: [] };
