/**
 * Rules for the import graph of src.
 *
 * Folders import only downwards, as the table MAY_IMPORT lists; no document repeats the table.
 * There are no import cycles and no folders with generic names. Each violation is reported as
 * `file:line: rule`. `type wire` in a row allows only type imports, which do not exist at run time.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import t from 'tap';
import ts from 'typescript';

const SRC = new URL('../src/', import.meta.url).pathname;
/** Row of `index.ts`, `vtepd.ts` and `vtepctl.ts`. */
const ENTRY = '.';

/**
 * Folder of src → folders that it may import. A file belongs to the innermost folder of the table
 * that contains it; the entry points, which are in no folder, belong to ENTRY.
 */
const MAY_IMPORT: Record<string, readonly string[]> = {
  wire: [],
  abi: [],
  log: [],
  config: ['wire'],
  exchange: ['abi', 'type config'],
  'switch/fdb': ['wire', 'abi', 'exchange'],
  'switch/frame': ['wire', 'abi', 'exchange', 'switch/fdb', 'switch/port'],
  'switch/mtu': ['wire', 'abi', 'exchange', 'switch/fdb', 'switch/frame', 'switch/port'],
  'switch/port': ['abi'],
  'switch/forward': ['wire', 'abi', 'exchange', 'switch/fdb', 'switch/frame', 'switch/mtu', 'switch/port'],
  'switch/dgram': ['wire', 'abi', 'switch/port'],
  'switch/superframes': ['abi'],
  'switch/flows': ['abi', 'exchange', 'switch/fdb', 'switch/frame', 'type switch/forward'],
  'switch/capture': ['wire', 'abi', 'exchange', 'switch/fdb', 'type switch/port'],
  switch: [
    'abi',
    'exchange',
    'switch/fdb',
    'switch/port',
    'switch/forward',
    'switch/dgram',
    'switch/superframes',
    'switch/flows',
    'switch/capture',
  ],
  controller: ['wire', 'abi', 'exchange'],
  host: ['wire', 'abi', 'type config'],
  names: ['wire', 'log', 'exchange', 'type config'],
  paths: ['wire', 'abi', 'log', 'exchange', 'type config', 'type controller', 'host', 'names'],
  superframes: [
    'wire',
    'abi',
    'log',
    'type exchange',
    'type config',
    'type controller',
    'host',
    'type paths',
  ],
  flows: ['abi', 'log', 'type exchange', 'type config', 'type controller', 'host', 'type superframes'],
  capture: ['wire', 'type log', 'exchange', 'type config'],
  doctor: ['exchange', 'host'],
  vtep: [
    'wire',
    'abi',
    'log',
    'exchange',
    'config',
    'controller',
    'host',
    'names',
    'paths',
    'superframes',
    'flows',
    'capture',
  ],
  api: ['wire', 'type log', 'exchange', 'config'],
  daemon: ['abi', 'type log', 'exchange', 'config', 'host', 'doctor', 'vtep', 'api'],
  cli: ['exchange', 'config', 'type api'],
  [ENTRY]: ['wire', 'log', 'exchange', 'config', 'host', 'names', 'doctor', 'vtep', 'daemon', 'cli'],
};

interface Import {
  file: string;
  line: number;
  target: string;
  typeOnly: boolean;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
const imports = files.flatMap(importsOf);

t.test('imports follow the table', (t) => {
  const violations = imports.filter((entry) => !isAllowed(entry)).map(violation);
  t.same(violations, [], 'the table allows every import');
  t.end();
});

t.test('netlink messages know nothing of the machine that uses them', (t) => {
  const beyond = imports.filter(
    ({ file, target }) =>
      file.startsWith('host/netlink/') &&
      !/^(wire|abi|host\/netlink)\//.test(target) &&
      target !== 'host/host-error.ts',
  );
  t.same(beyond.map(violation), [], 'host/netlink imports wire, abi and the error class of host');
  t.end();
});

t.test('every file belongs to a row of the table', (t) => {
  t.same(
    files.filter((file) => MAY_IMPORT[unitOf(file)] === undefined),
    [],
    'every folder has a row',
  );
  t.end();
});

t.test('there are no import cycles', (t) => {
  t.same(cycles(fileEdges()), [], 'files have no import cycle');
  t.same(cycles(folderEdges()), [], 'folders have no import cycle');
  t.end();
});

t.test('a cycle is found', (t) => {
  t.same(
    cycles([
      ['a', 'b'],
      ['b', 'c'],
      ['c', 'b'],
    ]),
    ['b → c → b'],
  );
  t.end();
});

t.test('no file or folder has a generic name', (t) => {
  const generic = /(^|\/)(utils?|common|helpers?|misc|lib|types)(\/|\.ts$)/;
  t.same(
    files.filter((file) => generic.test(file)),
    [],
    'no name is util, common, helper, misc, lib or types',
  );
  t.end();
});

t.test('the rules reject known violations', (t) => {
  const from = (file: string, target: string, typeOnly = false) =>
    isAllowed({ file, line: 1, target, typeOnly });
  t.notOk(from('wire/udp.ts', 'abi/batch.ts'), 'the lowest layer imports nothing');
  t.notOk(from('api/server.ts', 'switch/thread.ts'), 'the API does not import the worker');
  t.notOk(from('switch/thread.ts', 'api/server.ts'), 'the worker does not import the API');
  t.notOk(from('controller/handle.ts', 'switch/fdb/fdb.ts'), 'the handle does not import the FDB');
  t.notOk(
    from('switch/forward/encap.ts', 'switch/dgram/dgram.ts'),
    'forwarding does not import a port implementation',
  );
  t.notOk(from('vtepd.ts', 'controller/handle.ts'), 'an entry point does not import parts of a VTEP');
  t.ok(from('api/server.ts', 'exchange/data-plane.ts'));
  t.end();
});

/** Returns the relative imports and re-exports of a file, including `import()`. */
function importsOf(file: string): Import[] {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(SRC, file), 'utf8'),
    ts.ScriptTarget.ES2022,
    true,
  );
  const found: Import[] = [];
  const add = (node: ts.Node, specifier: ts.Expression | undefined, typeOnly: boolean): void => {
    if (specifier === undefined || !ts.isStringLiteral(specifier) || !specifier.text.startsWith('.')) return;
    const target = relative(SRC, join(SRC, dirname(file), specifier.text)).replace(/\.js$/, '.ts');
    const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
    found.push({ file, line, target, typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node, node.moduleSpecifier, importsTypesOnly(node));
    else if (ts.isExportDeclaration(node)) add(node, node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node, node.arguments[0], false);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Returns true for `import type { … }` and `import { type A, type B }`. */
function importsTypesOnly({ importClause: clause }: ts.ImportDeclaration): boolean {
  if (clause === undefined) return false;
  if (clause.isTypeOnly) return true;
  const { name, namedBindings } = clause;
  if (name !== undefined || namedBindings === undefined || !ts.isNamedImports(namedBindings)) return false;
  return namedBindings.elements.length > 0 && namedBindings.elements.every((element) => element.isTypeOnly);
}

function isAllowed({ file, target, typeOnly }: Import): boolean {
  const from = unitOf(file);
  const to = unitOf(target);
  const allowed = MAY_IMPORT[from] ?? [];
  return from === to || allowed.includes(to) || (typeOnly && allowed.includes(`type ${to}`));
}

/** @returns the innermost folder of the table that contains the file */
function unitOf(file: string): string {
  let folder = dirname(file);
  while (!(folder in MAY_IMPORT) && folder.includes('/')) folder = dirname(folder);
  return folder;
}

function violation({ file, line, target, typeOnly }: Import): string {
  const allowed = MAY_IMPORT[unitOf(file)] ?? [];
  const imported = `${typeOnly ? 'types of ' : ''}${target}`;
  return `src/${file}:${line}: ${unitOf(file)} may import ${allowed.join(', ') || 'nothing of src'}, not ${imported}`;
}

/** Edges of the import graph between files, including type imports. */
function fileEdges(): [string, string][] {
  return imports.map(({ file, target }) => [file, target]);
}

/** Edges between folders, without type imports. */
function folderEdges(): [string, string][] {
  return imports
    .filter(({ typeOnly }) => !typeOnly)
    .map(({ file, target }): [string, string] => [unitOf(file), unitOf(target)])
    .filter(([from, to]) => from !== to);
}

/** @returns cycles of a graph, each as `a → b → a` */
function cycles(pairs: readonly [string, string][]): string[] {
  const edges = new Map<string, Set<string>>();
  for (const [from, to] of pairs) edges.set(from, (edges.get(from) ?? new Set()).add(to));
  const found: string[] = [];
  const finished = new Set<string>();
  const walk = (node: string, path: readonly string[]): void => {
    const start = path.indexOf(node);
    if (start >= 0) found.push([...path.slice(start), node].join(' → '));
    if (start >= 0 || finished.has(node)) return;
    for (const target of edges.get(node) ?? []) walk(target, [...path, node]);
    finished.add(node);
  };
  for (const node of edges.keys()) walk(node, []);
  return found;
}
