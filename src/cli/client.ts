/**
 * Client of the control API, over TCP or a unix socket.
 *
 * It makes one call at a time: a JSON request and response, or a stream. Used by vtepctl.
 */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { Client, type Dispatcher } from 'undici';
import { parseApiEndpoint } from '../config/values.js';

/** Timeout for each part of a response, ms; the daemon's own timeout for the data plane is 2 s. */
const ANSWER_MS = 5000;

/** A failed call: vtepd refused it or cannot be reached. The message is one line for people. */
export class ApiFailure extends Error {
  /** Stable code of the problem; '' without a response. */
  readonly code: string;
  /** Body of the response; undefined if there is none or it is not JSON. */
  readonly answer: unknown;

  constructor(message: string, code = '', answer?: unknown) {
    super(message);
    this.code = code;
    this.answer = answer;
  }
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface CallOptions {
  readonly body?: object;
  /** ETag that the object must still have (If-Match). */
  readonly ifMatch?: string;
  /** Timeout until the response starts, ms, for slow calls. */
  readonly answerMs?: number;
}

export class ApiClient {
  readonly #client: Client;
  readonly #place: string;
  readonly #authorization: Readonly<Record<string, string>>;

  /**
   * @param place `HOST:PORT` or `unix:PATH`
   * @param token bearer token; '' for none
   * @throws ValueError for an invalid place
   */
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

  /**
   * @returns JSON of the response; undefined if the response has no body
   * @throws ApiFailure when the call fails
   */
  async call<T>(method: Method, path: string, options: CallOptions = {}): Promise<T> {
    return this.#exchange(
      requestOf(method, path, options),
      async ({ body }) => parseJson(await body.text()) as T,
    );
  }

  /** Reads an object and its ETag ('' if it has none). @throws ApiFailure when the call fails */
  async read<T>(path: string): Promise<{ readonly found: T; readonly etag: string }> {
    return this.#exchange({ method: 'GET', path }, async ({ body, headers }) => {
      const { etag } = headers;
      return { found: parseJson(await body.text()) as T, etag: typeof etag === 'string' ? etag : '' };
    });
  }

  /**
   * Makes a call whose response is a sequence of JSON lines.
   *
   * @param onLine called for each line except the last
   * @returns the last line
   * @throws ApiFailure when the call fails or when the last line is a problem
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
   * Reads a response that does not end by itself.
   *
   * @param read consumer of the bytes; the stream is closed when it returns or the signal aborts
   * @throws ApiFailure when the stream cannot be opened or breaks
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

  /** Returns all items of a list, page by page. */
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

  /** Closes the connection, and aborts a call in progress. */
  close(): Promise<void> {
    return this.#client.destroy();
  }

  /** @param read reader of a successful response */
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
        `cannot reach vtepd at ${this.#place} (${code ?? message}); check that vtepd is running, or give its address with --api`,
      );
    }
  }

  #refusal(answer: unknown, statusCode?: number): ApiFailure {
    const { detail, title, code } = (answer ?? {}) as { detail?: string; title?: string; code?: string };
    const problem =
      statusCode === undefined
        ? 'closed the connection before the end of its response'
        : `responded with HTTP status ${statusCode}`;
    return new ApiFailure(detail || title || `${this.#place} ${problem}`, code, answer);
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

/**
 * Returns true for errors of the kernel or undici, which have a code. Errors of the reader have no
 * code.
 */
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
