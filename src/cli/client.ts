/**
 * A client of the control API, over TCP or a unix socket: one call at a time, JSON both ways. For vtepctl and
 * whatever else runs beside the daemon.
 */
import { createInterface } from 'node:readline';
import { Client, type Dispatcher } from 'undici';
import { parseApiEndpoint } from '../config/values.js';

/** Milliseconds until an answer must have begun: the daemon itself gives up on its data plane after 2 s. */
const ANSWER_MS = 5000;

/** The call did not succeed: vtepd refused it, or was not there to be asked. One line for people. */
export class ApiFailure extends Error {
  /** The problem's stable code; '' when nothing answered. */
  readonly code: string;

  constructor(message: string, code = '') {
    super(message);
    this.code = code;
  }
}

export class ApiClient {
  readonly #client: Client;
  readonly #place: string;

  /** @param place `HOST:PORT` or `unix:PATH`. @throws ValueError */
  constructor(place: string) {
    const endpoint = parseApiEndpoint(place);
    this.#place = place;
    const timeouts = { headersTimeout: ANSWER_MS, bodyTimeout: ANSWER_MS };
    this.#client =
      endpoint.kind === 'unix'
        ? new Client('http://localhost', { ...timeouts, connect: { socketPath: endpoint.path } })
        : new Client(`http://${bracketed(endpoint.host)}:${endpoint.port}`, timeouts);
  }

  /** @returns the answer's JSON; undefined when there is none. @throws ApiFailure */
  async call<T>(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<T> {
    const headers = { 'content-type': 'application/json' };
    const sent = body && { body: JSON.stringify(body), headers };
    return this.#exchange({ method, path, ...sent }, async (answer) => parseJson(await answer.text()) as T);
  }

  /**
   * A call that answers in lines of JSON while it works.
   *
   * @param onLine each line but the last @returns the last line. @throws ApiFailure, for a problem in the last line too
   */
  async follow<T>(path: string, onLine: (line: object) => void): Promise<T> {
    const request = { method: 'POST', path, headers: { accept: 'application/x-ndjson' } } as const;
    return this.#exchange(request, async (answer) => {
      let last: object | undefined;
      for await (const line of createInterface({ input: answer })) {
        if (last) onLine(last);
        last = parseJson(line) as object | undefined;
      }
      if (last === undefined || 'code' in last) throw this.#refusal(last);
      return last as T;
    });
  }

  /** All items of a list, page by page. */
  async list<T>(path: string, query: Record<string, string> = {}): Promise<T[]> {
    const items: T[] = [];
    let cursor: string | null = null;
    do {
      const search = new URLSearchParams(cursor === null ? query : { ...query, cursor }).toString();
      const page: { items: T[]; nextCursor: string | null } = await this.call(
        'GET',
        search ? `${path}?${search}` : path,
      );
      items.push(...page.items);
      cursor = page.nextCursor;
    } while (cursor !== null);
    return items;
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  /** @param read what becomes of the body of a success */
  async #exchange<T>(
    request: Dispatcher.RequestOptions,
    read: (body: Dispatcher.ResponseData['body']) => Promise<T>,
  ): Promise<T> {
    try {
      const { statusCode, body } = await this.#client.request(request);
      if (statusCode < 300) return await read(body);
      throw this.#refusal(parseJson(await body.text()), statusCode);
    } catch (error) {
      if (error instanceof ApiFailure) throw error;
      const { code, message } = error as NodeJS.ErrnoException;
      throw new ApiFailure(
        `cannot reach vtepd at ${this.#place} (${code ?? message}): is it running? --api names another place`,
      );
    }
  }

  #refusal(answer: unknown, statusCode?: number): ApiFailure {
    const { detail, title, code } = (answer ?? {}) as { detail?: string; title?: string; code?: string };
    const said =
      statusCode === undefined ? 'ended its answer too soon' : `answered with status ${statusCode}`;
    return new ApiFailure(detail || title || `${this.#place} ${said}`, code);
  }
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function parseJson(text: string): unknown {
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
