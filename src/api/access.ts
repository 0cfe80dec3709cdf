/**
 * Who may call. Without a token: whoever reaches the listener, which is loopback or a unix socket. With one: whoever
 * shows it (RFC 6750), but for what says nothing of this VTEP.
 *
 * Against web pages that make a local browser call: a page's own name in `Host` (one that it rebinds to 127.0.0.1) is
 * refused unless there is a token, which no page has; a request that a page of another origin sent says so in `Origin`
 * or, where it only fetches, in `Sec-Fetch-Site`, and is refused; and bodies are JSON alone, which a page cannot send
 * without asking first.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from './errors.js';

/** Health is for supervisors, the description for browsers, which cannot send a token with a page. */
const OPEN = ['/healthz', '/readyz', '/openapi.json'];
const OPEN_UNDER = '/docs';

/** @param token '' none is asked for */
export function guard(app: FastifyInstance, token: string): void {
  app.addHook('onRequest', async (request) => {
    if (token === '') refuseForeignHost(request);
    refuseForeignOrigin(request);
    refuseForeignPage(request);
  });
  if (token !== '') app.addHook('onRequest', tokenCheck(token));
}

/** @returns whether a route needs the token where there is one. @param url as the route was declared */
export function isGuarded(url: string | undefined): boolean {
  if (url === undefined) return true;
  return !OPEN.includes(url) && url !== OPEN_UNDER && !url.startsWith(`${OPEN_UNDER}/`);
}

function tokenCheck(token: string): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const wanted = digest(token);
  return async (request, reply) => {
    if (!isGuarded(request.routeOptions.url)) return;
    const [, shown] = /^Bearer +([\w.~+/-]+=*)$/i.exec(request.headers.authorization ?? '') ?? [];
    // Digests have one length whatever was shown, so the comparison tells nothing by its time.
    if (shown !== undefined && timingSafeEqual(digest(shown), wanted)) return;
    const challenge = 'Bearer realm="vtepd"';
    reply.header('www-authenticate', shown === undefined ? challenge : `${challenge}, error="invalid_token"`);
    throw new ApiError(
      'unauthorized',
      shown === undefined
        ? 'send the token of --api-token-file as "Authorization: Bearer TOKEN"'
        : 'the token is not that of --api-token-file',
    );
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/**
 * DNS rebinding needs a name; over loopback we are called by address or as localhost. What we listen on tells a unix socket
 * from TCP: a connection that its client has torn off already has no address any more.
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

/** An image or a link of another page has no `Origin`. Links may lead to what anybody may see. */
function refuseForeignPage({ headers, routeOptions }: FastifyRequest): void {
  const site = headers['sec-fetch-site'] ?? 'none';
  if (site === 'none' || site === 'same-origin' || !isGuarded(routeOptions.url)) return;
  throw new ApiError(
    'forbidden_origin',
    `Sec-Fetch-Site ${JSON.stringify(site)}: pages of other origins may not call this API`,
  );
}
