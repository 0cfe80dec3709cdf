/**
 * A real Prometheus and promtool in a namespace.
 *
 * The programs are Debian's, as scripts/os-tools.mjs installs them.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Lab } from './lab.js';
import type { Namespace } from './netns.js';
import { eventually } from './wait.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const UNPACKED = join(ROOT, 'build/os-tools/usr/bin');
const LISTEN = '127.0.0.1:9090';

/** Path of a program that scripts/os-tools.mjs has unpacked, else its name. */
export function prometheusTool(name: 'prometheus' | 'promtool'): string {
  const unpacked = join(UNPACKED, name);
  return existsSync(unpacked) ? unpacked : name;
}

/**
 * @param target `HOST:PORT`; its /metrics is scraped every second
 * @param rules path of the file with alert rules
 */
export async function startPrometheus(
  lab: Lab,
  host: Namespace,
  target: string,
  rules: string,
): Promise<Prometheus> {
  const config = join(lab.dir, 'prometheus.yml');
  const every = '1s';
  writeFileSync(
    config,
    stringify({
      global: { scrape_interval: every, scrape_timeout: every, evaluation_interval: every },
      rule_files: [rules],
      scrape_configs: [{ job_name: 'vtepd', static_configs: [{ targets: [target] }] }],
    }),
  );
  const data = join(lab.dir, 'prometheus');
  const process = lab.keep(
    host.start([
      prometheusTool('prometheus'),
      `--config.file=${config}`,
      `--storage.tsdb.path=${data}`,
      `--web.listen-address=${LISTEN}`,
    ]),
  );
  await process.untilOutput(/Server is ready to receive web requests/, 20_000);
  return new Prometheus(host);
}

/** One element of an instant vector. */
export interface Element {
  metric: Record<string, string>;
  value: number;
}

export class Prometheus {
  readonly #host: Namespace;

  constructor(host: Namespace) {
    this.#host = host;
  }

  /** Runs an instant query that returns a vector. */
  async query(query: string): Promise<Element[]> {
    const { result } = await this.#get<{ result: { metric: Element['metric']; value: [number, string] }[] }>(
      'query',
      { query },
    );
    return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  /** Sum of the elements of a vector; 0 when it is empty. */
  async sum(query: string): Promise<number> {
    return (await this.query(query)).reduce((sum, { value }) => sum + value, 0);
  }

  /** Waits for a scrape that begins after the call. */
  async scraped(): Promise<void> {
    const sinceS = Date.now() / 1000;
    await eventually('a scrape', async () => (await this.sum('timestamp(vtepd_build_info)')) > sinceS);
  }

  /** All rules: name, health of the evaluation, state. */
  async alerts(): Promise<{ name: string; health: string; state: string }[]> {
    const { groups } = await this.#get<{
      groups: { rules: { name: string; health: string; state: string }[] }[];
    }>('rules');
    return groups.flatMap(({ rules }) => rules);
  }

  async #get<T>(path: string, parameters: Record<string, string> = {}): Promise<T> {
    const data = Object.entries(parameters).flatMap(([key, value]) => [
      '--data-urlencode',
      `${key}=${value}`,
    ]);
    const url = `http://${LISTEN}/api/v1/${path}`;
    const text = await this.#host.run(['curl', '--silent', '--show-error', '--get', ...data, url]);
    const { status, data: result, error } = JSON.parse(text);
    if (status !== 'success') throw new Error(`Prometheus: ${path}: ${error}`);
    return result as T;
  }
}
