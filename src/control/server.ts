/**
 * The control API: REST under `/v1`, health, metrics. Builds the server and its routes; `listen.ts` opens it, tests
 * inject into it. It changes nothing itself: every change goes through `DataPlane` and is answered when the data
 * plane has applied it.
 *
 * Who may call: whoever reaches the listener, which is loopback or a unix socket. Against web pages that make a
 * local browser call: bodies are JSON only (a page cannot send that without a preflight, which is refused), and the
 * Host header must be this machine's own (a page that rebinds its name to 127.0.0.1 is refused).
 */
import { isIP, type Socket } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { ControlDeps } from './deps.js';
import { ApiError, PROBLEM_TYPE, type ProblemCode, problem, problemOf } from './errors.js';
import { fdbRoutes } from './routes/fdb.js';
import { peerRoutes } from './routes/peers.js';
import { probeRoutes } from './routes/probe.js';
import { statusRoutes } from './routes/status.js';
import { vniRoutes } from './routes/vnis.js';

/** Bytes of a request's body: no call needs more than a few hundred. */
const BODY_MAX = 65536;
/** Characters of one part of a path: a DNS name with its escapes. */
const PARAM_MAX = 512;
/** Milliseconds for a whole request to arrive. */
const REQUEST_TIMEOUT_MS = 10_000;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** Builds the API; it does not listen. Close it with `close()`. */
export function buildServer(deps: ControlDeps): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: PARAM_MAX },
    // A value of the wrong type is refused, not bent; a field that is not known is named, not removed.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, verbose: true } },
    frameworkErrors: (error, _request, reply) => sendProblem(reply, error),
    clientErrorHandler: answerBrokenHttp,
  });
  app.removeContentTypeParser('text/plain');
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store');
    refuseForeignHost(request);
  });
  app.setErrorHandler((error, request, reply) => {
    const sent = sendProblem(reply, error);
    if (reply.statusCode === 500)
      deps.log.error({ err: error, method: request.method, url: request.url }, 'API');
    return sent;
  });
  app.setNotFoundHandler((request) => {
    throw new ApiError('not_found', `there is no ${request.url.split('?', 1)[0]}`);
  });

  const known = collectRoutes(app);
  statusRoutes(app, deps);
  vniRoutes(app, deps);
  peerRoutes(app, deps);
  probeRoutes(app, deps);
  fdbRoutes(app, deps);
  refuseOtherMethods(app, known);
  return app;
}

/** Methods of each path, filled as routes are added. */
function collectRoutes(app: FastifyInstance): Map<string, Set<string>> {
  const known = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const methods = known.get(url) ?? new Set();
    for (const name of [method].flat()) methods.add(name);
    known.set(url, methods);
  });
  return known;
}

/** 405 instead of 404 where the path exists; before a body is read. */
function refuseOtherMethods(app: FastifyInstance, known: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, methods] of [...known]) {
    const allowed = [...methods].sort().join(', ');
    app.route({
      method: METHODS.filter((method) => !methods.has(method)),
      url,
      onRequest: async (request, reply) => {
        reply.header('allow', allowed);
        throw new ApiError('method_not_allowed', `${request.method} is not for ${url}; it takes ${allowed}`);
      },
      handler: () => {},
    });
  }
}

/** DNS rebinding needs a name; over loopback we are called by address or as localhost. */
function refuseForeignHost({ socket, hostname }: FastifyRequest): void {
  const overTcp = socket.remoteAddress !== undefined;
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if (!overTcp || host === '' || host === 'localhost' || isIP(host) !== 0) return;
  throw new ApiError(
    'forbidden_host',
    `Host ${JSON.stringify(hostname)}: call this API by its address or as localhost`,
  );
}

function sendProblem(reply: FastifyReply, error: unknown): FastifyReply {
  const answer = problemOf(error);
  return reply.code(answer.status).type(PROBLEM_TYPE).send(answer);
}

/** What is no HTTP has no request and no reply: the answer is written by hand. */
function answerBrokenHttp(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [code, detail] = BROKEN_HTTP[error.code ?? ''] ?? ['bad_request', 'this is not HTTP/1.1'];
  const answer = problem(code, detail);
  const body = JSON.stringify(answer);
  socket.end(
    `HTTP/1.1 ${answer.status} ${answer.title}\r\nContent-Type: ${PROBLEM_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

const BROKEN_HTTP: Readonly<Record<string, [ProblemCode, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', `a request has ${REQUEST_TIMEOUT_MS} ms to arrive`],
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'header fields may have at most 16384 bytes'],
};

export type { ControlDeps, StatusInfo } from './deps.js';
