/**
 * Access control of the HTTP API.
 *
 * Without a token every client that reaches the listener is accepted; the listener is on loopback
 * or a unix socket. With a token, requests must carry it (RFC 6750); exempt are routes that reveal
 * nothing about this VTEP.
 *
 * Requests that a web page makes through a local browser are refused:
 * - Without a token, a `Host` that is a foreign name is refused: DNS rebinding to 127.0.0.1 needs
 *   such a name. With a token this check is not needed, as no page knows the token.
 * - A request of another origin carries `Origin` or, for plain fetches, `Sec-Fetch-Site`.
 * - Bodies must be JSON, which a page cannot send cross-origin without a preflight request.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from './errors.js';

/**
 * Routes without token: health for supervisors; the description for browsers, which cannot send a
 * token with a page.
 */
const OPEN = ['/healthz', '/readyz', '/openapi.json'];
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
 * @returns true when the route requires the token, if a token is configured
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
 * Refuses a `Host` that is a name other than localhost, as DNS rebinding needs one. The listener's
 * address distinguishes a unix socket from TCP, because a connection that its client has already
 * reset has no address any more.
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
 * Refuses fetches without `Origin` by pages of other origins: images and links. Unguarded routes
 * may be linked to.
 */
function refuseForeignPage({ headers, routeOptions }: FastifyRequest): void {
  const site = headers['sec-fetch-site'] ?? 'none';
  if (site === 'none' || site === 'same-origin' || !isGuarded(routeOptions.url)) return;
  throw new ApiError(
    'forbidden_origin',
    `Sec-Fetch-Site ${JSON.stringify(site)}: pages of other origins may not call this API`,
  );
}
