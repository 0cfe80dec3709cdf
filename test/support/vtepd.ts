/**
 * The daemon under test: the built executable in a namespace, with its API on a unix socket.
 *
 * Unix sockets are not bound to a network namespace, so the test process talks to the daemon
 * directly.
 */
import { request } from 'node:http';
import { join } from 'node:path';
import type { Outcome, Running } from './command.js';
import { Metrics } from './metrics.js';
import type { Namespace } from './netns.js';
import { eventually, lastLines } from './wait.js';

const root = new URL('../../', import.meta.url).pathname;
export const VTEPD = join(root, 'dist/vtepd.js');
export const VTEPCTL = join(root, 'dist/vtepctl.js');

/** Engines that the labs run with. */
export const ENGINES = ['batch', 'dgram'] as const;
export type Engine = (typeof ENGINES)[number];

const READY_MS = 60_000;
const CALL_MS = 5_000;
let sockets = 0;

export interface Answer<T = unknown> {
  status: number;
  contentType: string;
  body: T;
}

/**
 * Starts vtepd with these flags and an API of its own, and waits until it is ready.
 *
 * @throws Error with the log of the daemon
 */
export async function startVtepd(
  host: Namespace,
  dir: string,
  flags: string,
  env: Record<string, string> = {},
  until: 'ready' | 'answering' = 'ready',
): Promise<Vtepd> {
  const socket = join(dir, `api-${sockets++}.sock`);
  const process = host.start(vtepdCommand(`${flags} --api unix:${socket}`), { env });
  const daemon = new Vtepd(host, process, socket);
  try {
    await (until === 'ready' ? daemon.ready() : daemon.answering());
  } catch (error) {
    await daemon.stop('SIGKILL');
    throw error;
  }
  return daemon;
}

/**
 * Command line of the built daemon. Without `--state` in `flags` the daemon keeps no state, because
 * daemons of one machine cannot share a state file.
 */
export function vtepdCommand(flags: string): string[] {
  const state = /--state\b/.test(flags) ? '' : ' --state off';
  return [process.execPath, VTEPD, ...`${flags}${state}`.split(/\s+/).filter(Boolean)];
}

export class Vtepd {
  readonly process: Running;
  readonly socket: string;
  readonly #host: Namespace;

  constructor(host: Namespace, process: Running, socket: string) {
    this.#host = host;
    this.process = process;
    this.socket = socket;
  }

  /** Everything logged so far, with the name of the host. */
  log(): string {
    return `vtepd in ${this.#host.label}:\n${this.process.stdout}${this.process.stderr}`;
  }

  async ready(): Promise<void> {
    await this.#until('vtepd to be ready', (status) => status === 200);
  }

  /** Waits until the API answers. */
  async answering(): Promise<void> {
    await this.#until('the API to answer', (status) => status !== undefined);
  }

  async #until(what: string, isReached: (status: number | undefined) => boolean): Promise<void> {
    const look = async () => {
      if (!this.process.alive) throw new Error(`vtepd exited: ${lastLines(this.log())}`);
      return isReached((await this.call('GET', '/readyz').catch(() => undefined))?.status);
    };
    await eventually(what, look, READY_MS);
  }

  get<T = Record<string, unknown>>(path: string): Promise<Answer<T>> {
    return this.call('GET', path);
  }

  /** Makes one API call. JSON bodies are parsed; other bodies are returned as text. */
  call<T>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const headers = payload === undefined ? {} : { 'content-type': 'application/json' };
    return new Promise((resolve, reject) => {
      const sent = request(
        { socketPath: this.socket, method, path, headers, timeout: CALL_MS, agent: false },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (part: string) => (text += part));
          answer.on('end', () => {
            const contentType = answer.headers['content-type'] ?? '';
            const parsed = contentType.includes('json') ? JSON.parse(text) : text;
            resolve({ status: answer.statusCode ?? 0, contentType, body: parsed as T });
          });
        },
      );
      sent.on('timeout', () => sent.destroy(new Error(`${method} ${path}: no answer within ${CALL_MS} ms`)));
      sent.on('error', reject);
      sent.end(payload);
    });
  }

  async metrics(): Promise<Metrics> {
    const { body } = await this.call<string>('GET', '/metrics');
    return new Metrics(body);
  }

  /** All pages of a VNI's FDB. */
  async fdb(vni: number): Promise<FdbEntry[]> {
    const entries: FdbEntry[] = [];
    let cursor: unknown = '';
    while (cursor !== undefined && cursor !== null) {
      const query = cursor === '' ? '' : `&cursor=${cursor}`;
      const page = await this.get<{ items: FdbEntry[]; nextCursor?: unknown }>(
        `/v1/vnis/${vni}/fdb?limit=1000${query}`,
      );
      entries.push(...page.body.items);
      cursor = page.body.nextCursor;
    }
    return entries;
  }

  /** Runs the built vtepctl against this daemon. */
  ctl(command: string): Promise<Outcome> {
    return this.#host.outcome([
      process.execPath,
      VTEPCTL,
      '--api',
      `unix:${this.socket}`,
      ...command.split(/\s+/),
    ]);
  }

  /** Resident memory, bytes. */
  async residentBytes(): Promise<number> {
    const status = await this.#host.run(`cat /proc/${this.process.pid}/status`);
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  }

  /** Stops the daemon and returns its exit code. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    return this.process.stop(signal, 5_000);
  }
}

export interface FdbEntry {
  mac: string;
  peer: string;
  type: 'static' | 'dynamic';
  ageMs: number;
}
