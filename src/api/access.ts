/**
 * Access control of the HTTP API.
 *
 * Without a token every client that can connect is accepted; the listener is on loopback or a unix
 * socket. With a token, every request must carry the token (RFC 6750). Only routes that reveal
 * nothing about this VTEP need no token.
 *
 * Requests that a web page makes through a local browser are refused:
 * - Without a token, a request whose `Host` is a name other than localhost is refused, because an
 *   attack by DNS rebinding sends such a name. With a token this check is not needed, because no
 *   page knows the token.
 * - A request from a page of another origin is refused. The browser marks such a request with
 *   `Origin` or, for images and links, with `Sec-Fetch-Site`.
 * - Bodies must be JSON. A browser sends JSON to another origin only after a preflight request,
 *   which vtepd refuses.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from './errors.js';

/**
 * Routes that need no token. Supervisors request the health routes. Browsers request the
 * description, and send no token when they load a page.
 */
const OPEN = ['/healthz', '/readyz', '/openapi.json'];
/** Path of the page of the description; paths under it need no token either. */
const OPEN_UNDER = '/docs';

/** @param token bearer token that requests must carry; '' disables the check */
export function guard(app: FastifyInstance, token: string): void {
  app.addHook('onRequest', async (request) => {
    if (token === '') refuseForeignHost(request);
    refuseForeignOrigin(request);
    refuseForeignPage(request);
  });
  if (token !== '') app.addHook('onRequest', tokenCheck(token));
}

/**
 * @param url route URL as declared
 * @returns true for a route that requires the token whenever a token is configured
 */
export function isGuarded(url: string | undefined): boolean {
  if (url === undefined) return true;
  return !OPEN.includes(url) && url !== OPEN_UNDER && !url.startsWith(`${OPEN_UNDER}/`);
}

function tokenCheck(token: string): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const expected = digest(token);
  return async (request, reply) => {
    if (!isGuarded(request.routeOptions.url)) return;
    const [, given] = /^Bearer +([\w.~+/-]+=*)$/i.exec(request.headers.authorization ?? '') ?? [];
    // Digests have a fixed length, so the duration of the comparison reveals nothing about the
    // token.
    if (given !== undefined && timingSafeEqual(digest(given), expected)) return;
    const challenge = 'Bearer realm="vtepd"';
    reply.header('www-authenticate', given === undefined ? challenge : `${challenge}, error="invalid_token"`);
    throw new ApiError(
      'unauthorized',
      given === undefined
        ? 'send the token of --api-token-file as "Authorization: Bearer TOKEN"'
        : 'the token does not match the one in --api-token-file',
    );
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/**
 * Refuses a `Host` that is a name other than localhost, because DNS rebinding needs such a name. To
 * distinguish a unix socket from TCP, the check reads the address of the listener: the address of a
 * connection is missing after the client has reset the connection.
 */
function refuseForeignHost({ server, hostname }: FastifyRequest): void {
  const overUnix = typeof server.server.address() === 'string';
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if (overUnix || host === '' || host === 'localhost' || isIP(host) !== 0) return;
  throw new ApiError(
    'forbidden_host',
    `Host ${JSON.stringify(hostname)}: call this API by its address or as localhost`,
  );
}

function refuseForeignOrigin({ headers: { origin }, host }: FastifyRequest): void {
  if (origin === undefined || origin === `http://${host}` || origin === `https://${host}`) return;
  throw new ApiError(
    'forbidden_origin',
    `Origin ${JSON.stringify(origin)}: pages of other origins may not call this API`,
  );
}

/**
 * Refuses requests that pages of other origins make without `Origin`, which are requests for images
 * and links. Links to routes that need no token are allowed.
 */
function refuseForeignPage({ headers, routeOptions }: FastifyRequest): void {
  const site = headers['sec-fetch-site'] ?? 'none';
  if (site === 'none' || site === 'same-origin' || !isGuarded(routeOptions.url)) return;
  throw new ApiError(
    'forbidden_origin',
    `Sec-Fetch-Site ${JSON.stringify(site)}: pages of other origins may not call this API`,
  );
}
