/**
 * What all our HTTP servers have in common: limits, ids, the log of requests, and that whatever goes wrong is answered
 * by a problem without a word of its inside. Routes and who may call them are `server.ts`'s. The
 * limits are those of docs/interface.md, "Limits".
 *
 * Every answer has an `x-request-id`, and the log names it: requests at level debug, so that nobody who can only read
 * fills the log; changes at info, by the routes that make them.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from '../log/log.js';
import { type ConnectionLimits, Connections, StoppableRequest } from './connections.js';
import { ApiError, PROBLEM_TYPE, type ProblemCode, problem, problemOf, RETRY_AFTER_S } from './errors.js';

/** Bytes of a request's body: no call needs more than some thousands. */
const BODY_MAX = 65536;
/** Characters of one part of a path: a DNS name with its escapes. */
const PARAM_MAX = 512;

export interface HttpLimits extends ConnectionLimits {
  /** Milliseconds for a whole request to arrive, from its first byte or from the connection on. */
  readonly requestMs: number;
  /** Milliseconds without a byte in either direction, after which a connection is closed. */
  readonly idleMs: number;
  /** Milliseconds between two looks for requests that are late. */
  readonly checkMs: number;
}

/** Tests that need shorter times or smaller numbers hand their own in. */
const HTTP_LIMITS: HttpLimits = {
  connections: 256,
  perClient: 64,
  queued: 7,
  requestMs: 10_000,
  idleMs: 60_000,
  checkMs: 500,
};

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** A server without routes; it does not listen. Close it with `close()`. */
export function createApp(log: Logger, limits: HttpLimits = HTTP_LIMITS): FastifyInstance {
  const connections = new Connections(limits);
  const app = Fastify({
    logger: false,
    genReqId: () => randomUUID(),
    bodyLimit: BODY_MAX,
    forceCloseConnections: true,
    serverFactory: (handle) => httpServer(connections, limits, handle),
    routerOptions: { maxParamLength: PARAM_MAX },
    // A value of the wrong type is refused, not bent; a field that is not known is named, not removed.
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        verbose: true,
        allowUnionTypes: true,
        // They are ours, and a test judges them: at a start it takes as long as all routes.
        validateSchema: false,
      },
    },
    frameworkErrors: (error, request, reply) => {
      sendProblem(reply.headers(headersOf(request)), error);
      const { id, method, url, ip } = request;
      log.debug({ request: id, method, url, status: reply.statusCode, ip }, 'request');
    },
    clientErrorHandler: (error, socket) => {
      if (connections.isAnswering(socket)) socket.destroy();
      else answerBrokenHttp(log, error, socket);
    },
  });
  // What a client expects beyond RFC 9110 §10.1.1 may be left unheeded; Node would answer by itself here, too.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  app.removeContentTypeParser('text/plain');
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(headersOf(request));
    refuseNoHost(request);
  });
  app.addHook('onResponse', async ({ id, method, url, ip }, { statusCode, elapsedTime }) => {
    log.debug({ request: id, method, url, status: statusCode, ms: Math.round(elapsedTime), ip }, 'request');
  });
  app.setErrorHandler((error, request, reply) => {
    const sent = sendProblem(reply, error);
    if (reply.statusCode === 500)
      log.error({ request: request.id, err: error, method: request.method, url: request.url }, 'API');
    return sent;
  });
  app.setNotFoundHandler((request) => {
    throw new ApiError('not_found', `there is no ${request.url.split('?', 1)[0]}`);
  });
  return app;
}

function httpServer(
  connections: Connections,
  { requestMs, idleMs, checkMs }: HttpLimits,
  handle: RequestListener,
) {
  const server = createServer(
    {
      IncomingMessage: StoppableRequest,
      requestTimeout: requestMs,
      headersTimeout: requestMs,
      connectionsCheckingInterval: checkMs,
      keepAliveTimeout: idleMs,
      // Node itself would answer without a body; `refuseNoHost` does instead.
      requireHostHeader: false,
    },
    connections.inTurn(handle),
  );
  // A client that reads no further sends nothing and takes nothing, too.
  server.setTimeout(idleMs);
  connections.watch(server);
  return server;
}

/** Methods of each path, filled as routes are added. */
export function collectRoutes(app: FastifyInstance): Map<string, Set<string>> {
  const known = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const methods = known.get(url) ?? new Set();
    for (const name of [method].flat()) methods.add(name);
    known.set(url, methods);
  });
  return known;
}

/** 405 instead of 404 where the path exists; before a body is read. */
export function refuseOtherMethods(
  app: FastifyInstance,
  known: ReadonlyMap<string, ReadonlySet<string>>,
): void {
  for (const [url, methods] of [...known]) {
    const allowed = [...methods].sort().join(', ');
    app.route({
      method: METHODS.filter((method) => !methods.has(method)),
      url,
      schema: { hide: true },
      onRequest: async (request, reply) => {
        reply.header('allow', allowed);
        throw new ApiError('method_not_allowed', `${request.method} is not for ${url}; it takes ${allowed}`);
      },
      handler: () => {},
    });
  }
}

/** RFC 9112 §3.2. */
function refuseNoHost({ raw: { httpVersion, headers } }: FastifyRequest): void {
  if (headers.host === undefined && httpVersion !== '1.0')
    throw new ApiError('bad_request', 'the request has no Host header');
}

/** Of every answer. */
function headersOf({ id }: { readonly id: string }): Record<string, string> {
  return { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'x-request-id': id };
}

function sendProblem(reply: FastifyReply, error: unknown): FastifyReply {
  const answer = problemOf(error);
  if (answer.code === 'overloaded') reply.header('retry-after', String(RETRY_AFTER_S));
  return reply.code(answer.status).type(PROBLEM_TYPE).send(answer);
}

/**
 * Input that is not HTTP has no request and no reply: the answer is written by hand. The connection is closed
 * in both directions then: the other side may never close its own.
 */
function answerBrokenHttp(log: Logger, error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [code, detail] = BROKEN_HTTP[error.code ?? ''] ?? ['bad_request', 'this is not HTTP/1.1'];
  const answer = problem(code, detail);
  const body = JSON.stringify(answer);
  const id = randomUUID();
  const headers = {
    ...headersOf({ id }),
    'Content-Type': PROBLEM_TYPE,
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  log.debug({ request: id, status: answer.status, ip: socket.remoteAddress }, 'no request');
  socket.write(`HTTP/1.1 ${answer.status} ${answer.title}\r\n${lines.join('')}\r\n${body}`);
  socket.destroySoon();
}

const BROKEN_HTTP: Readonly<Record<string, [ProblemCode, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', `a request has ${HTTP_LIMITS.requestMs / 1000} s to arrive`],
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'header fields may have at most 16384 bytes'],
};
