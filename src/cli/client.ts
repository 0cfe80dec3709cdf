/**
 * A client of the control API, over TCP or a unix socket: one call at a time, JSON both ways, or a stream that lasts. For
 * vtepctl and whatever else runs beside the daemon.
 */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
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

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface CallOptions {
  readonly body?: object;
  /** The change is made only while this ETag holds. */
  readonly ifMatch?: string;
  /** Milliseconds until the answer must have begun, where it takes longer than usual. */
  readonly answerMs?: number;
}

export class ApiClient {
  readonly #client: Client;
  readonly #place: string;
  readonly #authorization: Readonly<Record<string, string>>;

  /** @param place `HOST:PORT` or `unix:PATH` @param token '' none. @throws ValueError */
  constructor(place: string, token = '') {
    const endpoint = parseApiEndpoint(place);
    this.#place = place;
    this.#authorization = token === '' ? {} : { authorization: `Bearer ${token}` };
    const timeouts = { headersTimeout: ANSWER_MS, bodyTimeout: ANSWER_MS };
    this.#client =
      endpoint.kind === 'unix'
        ? new Client('http://localhost', { ...timeouts, connect: { socketPath: endpoint.path } })
        : new Client(`http://${bracketed(endpoint.host)}:${endpoint.port}`, timeouts);
  }

  /** @returns the answer's JSON; undefined when there is none. @throws ApiFailure */
  async call<T>(method: Method, path: string, options: CallOptions = {}): Promise<T> {
    return this.#exchange(
      requestOf(method, path, options),
      async ({ body }) => parseJson(await body.text()) as T,
    );
  }

  /** One thing and the ETag that it has now; '' when it has none. @throws ApiFailure */
  async read<T>(path: string): Promise<{ readonly found: T; readonly etag: string }> {
    return this.#exchange({ method: 'GET', path }, async ({ body, headers }) => {
      const { etag } = headers;
      return { found: parseJson(await body.text()) as T, etag: typeof etag === 'string' ? etag : '' };
    });
  }

  /**
   * A call that answers in lines of JSON while it works.
   *
   * @param onLine each line but the last @returns the last line. @throws ApiFailure, for a problem in the last line too
   */
  async follow<T>(path: string, onLine: (line: object) => void): Promise<T> {
    const request = { method: 'POST', path, headers: { accept: 'application/x-ndjson' } } as const;
    return this.#exchange(request, async ({ body }) => {
      let last: object | undefined;
      for await (const line of createInterface({ input: body })) {
        if (last) onLine(last);
        last = parseJson(line) as object | undefined;
      }
      if (last === undefined || 'code' in last) throw this.#refusal(last);
      return last as T;
    });
  }

  /**
   * An answer without end.
   *
   * @param read what becomes of its bytes; when it returns, or the signal comes, the stream is let go
   * @throws ApiFailure when it could not begin, or broke
   */
  async stream(
    path: string,
    accept: string,
    signal: AbortSignal,
    read: (bytes: Readable) => Promise<void>,
  ): Promise<void> {
    const request = { method: 'GET', path, headers: { accept }, bodyTimeout: 0, signal } as const;
    try {
      await this.#exchange(request, async ({ body }) => {
        await read(body);
        body.destroy();
      });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
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

  /** Lets go of the connection, whatever is under way on it. */
  close(): Promise<void> {
    return this.#client.destroy();
  }

  /** @param read what becomes of a success */
  async #exchange<T>(
    request: Dispatcher.RequestOptions,
    read: (answer: Dispatcher.ResponseData) => Promise<T>,
  ): Promise<T> {
    const headers = { ...(request.headers as Record<string, string>), ...this.#authorization };
    try {
      const answer = await this.#client.request({ ...request, headers });
      if (answer.statusCode < 300) return await read(answer);
      throw this.#refusal(parseJson(await answer.body.text()), answer.statusCode);
    } catch (error) {
      if (error instanceof ApiFailure || !isOfConnection(error)) throw error;
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

function requestOf(
  method: Method,
  path: string,
  { body, ifMatch, answerMs }: CallOptions,
): Dispatcher.RequestOptions {
  const headers = {
    ...(body && { 'content-type': 'application/json' }),
    ...(ifMatch && { 'if-match': ifMatch }),
  };
  return {
    method,
    path,
    headers,
    ...(body && { body: JSON.stringify(body) }),
    ...(answerMs !== undefined && { headersTimeout: answerMs }),
  };
}

/** The kernel's or undici's word; what a reader of the answer throws of its own is something else. */
function isOfConnection(error: unknown): boolean {
  return typeof (error as { code?: unknown }).code === 'string';
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
