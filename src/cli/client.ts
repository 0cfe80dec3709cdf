/**
 * A client of the control API, over TCP or a unix socket: one call at a time, JSON both ways. For vtepctl and
 * whatever else runs beside the daemon.
 */
import { Client } from 'undici';
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
    const { statusCode, text } = await this.#exchange(method, path, body);
    const answer = parseJson(text);
    if (statusCode < 300) return answer as T;
    const { detail, title, code } = (answer ?? {}) as { detail?: string; title?: string; code?: string };
    throw new ApiFailure(detail || title || `${this.#place} answered with status ${statusCode}`, code);
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

  async #exchange(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object) {
    try {
      const { statusCode, body: answer } = await this.#client.request({
        method,
        path,
        ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      return { statusCode, text: await answer.text() };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new ApiFailure(
        `cannot reach vtepd at ${this.#place} (${code ?? message}): is it running? --api names another place`,
      );
    }
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
