/**
 * Fastify set-up common to all HTTP servers: limits, request ids, logging and error responses.
 *
 * Every error is answered with problem details (RFC 9457) that reveal no internals. Routes and
 * access control are in `server.ts`. The limits are those of docs/interface.md, "Limits".
 *
 * Every response has an `x-request-id`, which the log contains as well. Requests are logged at
 * level debug, so that clients with read access cannot fill the log; changes are logged at info by
 * the routes that make them.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from '../log/log.js';
import { type ConnectionLimits, Connections, StoppableRequest } from './connections.js';
import { ApiError, PROBLEM_TYPE, type ProblemCode, problem, problemOf, RETRY_AFTER_S } from './errors.js';

/** Maximum request body, bytes; real calls need a few thousand. */
const BODY_MAX = 65536;
/** Maximum path segment, characters; enough for an escaped DNS name. */
const PARAM_MAX = 512;

export interface HttpLimits extends ConnectionLimits {
  /**
   * Maximum milliseconds from the first byte of a request to its last. The first byte of a new
   * connection must arrive within the same time.
   */
  readonly requestMs: number;
  /** Milliseconds without a byte in either direction after which a connection is closed. */
  readonly idleMs: number;
  /** Milliseconds between two checks for late requests. */
  readonly checkMs: number;
}

/** Defaults; tests pass shorter times and smaller numbers. */
const HTTP_LIMITS: HttpLimits = {
  connections: 256,
  perClient: 64,
  queued: 7,
  requestMs: 10_000,
  idleMs: 60_000,
  checkMs: 500,
};

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** Creates a server that has no routes and does not listen. Close the server with `close()`. */
export function createApp(log: Logger, limits: HttpLimits = HTTP_LIMITS): FastifyInstance {
  const connections = new Connections(limits);
  const app = Fastify({
    logger: false,
    genReqId: () => randomUUID(),
    bodyLimit: BODY_MAX,
    forceCloseConnections: true,
    serverFactory: (handle) => httpServer(connections, limits, handle),
    routerOptions: { maxParamLength: PARAM_MAX },
    // Values of a wrong type and unknown fields are rejected. By default Fastify would convert the
    // values and remove the fields.
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        verbose: true,
        allowUnionTypes: true,
        // The schemas are vtepd's own and are validated by a test. Validating them at start would
        // take as long as adding all routes.
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
  // RFC 9110 §10.1.1 permits ignoring expectations other than 100-continue. Without this handler
  // Node would answer such requests with 417.
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
      log.error(
        { request: request.id, err: error, method: request.method, url: request.url },
        'API request failed',
      );
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
      // Node would answer without a body; `refuseNoHost` answers with problem details.
      requireHostHeader: false,
    },
    connections.inTurn(handle),
  );
  // Also covers a client that stops reading: no byte moves in either direction.
  server.setTimeout(idleMs);
  connections.watch(server);
  return server;
}

/** Returns the methods of each path, in a map that is filled as routes are added. */
export function collectRoutes(app: FastifyInstance): Map<string, Set<string>> {
  const known = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const methods = known.get(url) ?? new Set();
    for (const name of [method].flat()) methods.add(name);
    known.set(url, methods);
  });
  return known;
}

/** Answers other methods of existing paths with 405, before the body is read. */
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
        throw new ApiError(
          'method_not_allowed',
          `${request.method} is not supported for ${url}; supported: ${allowed}`,
        );
      },
      handler: () => {},
    });
  }
}

/** A request without `Host` is refused (RFC 9112 §3.2). */
function refuseNoHost({ raw: { httpVersion, headers } }: FastifyRequest): void {
  if (headers.host === undefined && httpVersion !== '1.0')
    throw new ApiError('bad_request', 'the request has no Host header');
}

/** Headers of every response. */
function headersOf({ id }: { readonly id: string }): Record<string, string> {
  return { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'x-request-id': id };
}

function sendProblem(reply: FastifyReply, error: unknown): FastifyReply {
  const answer = problemOf(error);
  if (answer.code === 'overloaded') reply.header('retry-after', String(RETRY_AFTER_S));
  return reply.code(answer.status).type(PROBLEM_TYPE).send(answer);
}

/**
 * Answers input that is not HTTP. Fastify makes no request and no reply object for such input, so
 * the response is written to the socket. The socket is then closed in both directions, because the
 * client possibly never closes its direction.
 */
function answerBrokenHttp(log: Logger, error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [code, detail] = BROKEN_HTTP[error.code ?? ''] ?? ['bad_request', 'the input is not valid HTTP/1.1'];
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
  log.debug({ request: id, status: answer.status, ip: socket.remoteAddress }, 'invalid HTTP request');
  socket.write(`HTTP/1.1 ${answer.status} ${answer.title}\r\n${lines.join('')}\r\n${body}`);
  socket.destroySoon();
}

const BROKEN_HTTP: Readonly<Record<string, [ProblemCode, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [
    'request_timeout',
    `the request did not arrive completely within ${HTTP_LIMITS.requestMs / 1000} s`,
  ],
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'the header fields exceed 16384 bytes'],
};
