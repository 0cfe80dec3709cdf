/**
 * A fake control API: HTTP on a unix socket with scripted answers.
 *
 * It records the requests that it receives.
 */
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
  /** Body, sent as JSON. */
  readonly body?: unknown;
  /** Function that writes the body; it can leave the response open. */
  readonly stream?: (response: ServerResponse) => void;
}

/** Answers, indexed by `METHOD /path?query`. */
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

/** A problem (RFC 9457), as the API returns it. */
export function refusal(status: number, code: string, detail: string): Answer {
  return { status, body: { type: `urn:vtepd:problem:${code}`, title: code, status, detail, code } };
}
