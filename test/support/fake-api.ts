/** A control API that answers what a test says and remembers what it was asked: HTTP on a unix socket. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { Test } from 'tap';
import { socketPath } from './socket-path.js';

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

export interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  /** JSON. */
  readonly body?: unknown;
  /** Writes the body by itself, and ends it or not. */
  readonly stream?: (response: ServerResponse) => void;
}

/** By `METHOD /path?query`. */
export type Answers = Readonly<Record<string, Answer | (() => Answer)>>;

export async function fakeApi(t: Test, answers: Answers) {
  const calls: Call[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const { method = '', url: path = '', headers } = request;
    calls.push({ method, path, headers, body: text === '' ? undefined : JSON.parse(text) });
    const found = answers[`${method} ${path}`];
    const answer = (typeof found === 'function' ? found() : found) ?? NOT_FOUND;
    response.writeHead(answer.status ?? 200, answer.headers);
    if (answer.stream) {
      response.flushHeaders();
      answer.stream(response);
    } else response.end(answer.body === undefined ? '' : JSON.stringify(answer.body));
  });
  const path = socketPath(t);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { place: `unix:${path}`, calls };
}

const NOT_FOUND: Answer = { status: 404, body: { code: 'not_found', detail: 'there is nothing here' } };

/** A problem, as the API tells it. */
export function refusal(status: number, code: string, detail: string): Answer {
  return { status, body: { type: `urn:vtepd:problem:${code}`, title: code, status, detail, code } };
}
