/**
 * Dashboard and alert rules of docs/monitoring: their metrics, labels and reasons exist.
 *
 * The expressions are compared with the metrics of a daemon. promtool tests the rules themselves
 * (test/lab/prometheus.test.ts).
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { parse } from 'yaml';
import { DROP_REASONS } from '../src/exchange/drop-reason.js';
import { controlOverPlainDataPlane } from './support/control.js';

interface Panel {
  title: string;
  type: string;
  id: number;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource?: { uid: string };
  targets?: { expr: string; datasource: { uid: string } }[];
}
interface Dashboard {
  panels: Panel[];
  templating: { list: { name: string; type: string; definition?: string }[] };
}
interface Rule {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; description: string };
}

const text = (file: string) => readFileSync(`docs/monitoring/${file}`, 'utf8');
const contract = readFileSync('docs/interface.md', 'utf8');
const dashboard: Dashboard = JSON.parse(text('dashboard.json'));
const rules: Rule[] = parse(text('rules.yml')).groups.flatMap(({ rules }: { rules: Rule[] }) => rules);
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const variables = dashboard.templating.list;
const expressions = [
  ...panels.flatMap(({ title, targets }) => (targets ?? []).map(({ expr }) => [title, expr])),
  ...variables.flatMap(({ name, definition }) => (definition ? [[`$${name}`, definition]] : [])),
  ...rules.map(({ alert, expr }) => [alert, expr]),
];

/** Returns the labels of a metric as listed in docs/interface.md. */
function labelsOf(metric: string): string[] {
  const row = contract
    .split('\n')
    .find((line) => line.startsWith('| `vtepd_') && line.includes(`\`${metric}\``));
  return row?.split(' | ')[2].split(', ') ?? [];
}

t.test('all metrics, labels and drop reasons exist', async (t) => {
  const { server } = await controlOverPlainDataPlane();
  t.teardown(() => server.close());
  const { body } = await server.inject('/metrics');
  const known = new Set([...body.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name));
  t.ok(expressions.length > 40, `more than 40 expressions are found: ${expressions.length}`);
  for (const [where, expr] of expressions) {
    const metrics = expr.match(/\b(vtepd|process|nodejs)_\w+/g) ?? [];
    t.ok(metrics.length > 0 || expr.startsWith('up'), `${where} uses a metric`);
    for (const name of metrics) t.ok(known.has(name), `${where}: metric ${name} exists`);
    const labels = ['job', 'instance', ...metrics.flatMap(labelsOf)];
    for (const [, label] of expr.matchAll(/\b(\w+)(?:=|!=|=~|!~)"/g))
      t.ok(labels.includes(label), `${where}: label ${label} exists`);
    for (const [, , reasons] of expr.matchAll(/\breason(=~|=)"([^"]+)"/g))
      for (const reason of reasons.split('|'))
        t.ok(
          DROP_REASONS.some(([each]) => each === reason),
          `${where}: reason ${reason} exists`,
        );
  }
});

t.test('the dashboard defines its variables, and its panels do not overlap', async (t) => {
  t.match(variables[0], { name: 'datasource', type: 'datasource', query: 'prometheus' });
  const names = variables.map(({ name }) => name);
  for (const [where, expr] of expressions)
    for (const [, name] of expr.matchAll(/\$(?!__)(\w+)/g))
      t.ok(names.includes(name), `${where}: $${name} is defined`);
  for (const { title, targets, datasource } of panels) {
    const sources = [datasource, ...(targets ?? []).map((target) => target.datasource)];
    for (const source of sources) {
      // biome-ignore lint/suspicious/noTemplateCurlyInString: syntax of a Grafana variable.
      t.equal(source?.uid, '${datasource}', `${title} uses the selected data source`);
    }
  }
  t.equal(
    new Set(dashboard.panels.map(({ id }) => id)).size,
    dashboard.panels.length,
    'panel ids are unique',
  );
  const occupied = new Set<string>();
  for (const { title, gridPos } of dashboard.panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        if (occupied.has(`${x},${y}`) || x >= 24) t.fail(`${title} overlaps another panel or the edge`);
        occupied.add(`${x},${y}`);
      }
    }
  }
});

t.test('every alert has a test and a row in the README', async (t) => {
  const tests = text('rules-test.yml');
  const readme = text('README.md');
  for (const { alert, labels, annotations } of rules) {
    t.match(tests, alert, `${alert} has a test`);
    t.match(readme, `| \`${alert}\` |`, `${alert} has a row in the README`);
    t.match(labels.severity, /^(critical|warning|info)$/, `${alert} has a known severity`);
    t.match(annotations, { summary: /\S/, description: /\S/ });
  }
});
