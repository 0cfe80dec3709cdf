/**
 * The API's description of itself: an OpenAPI 3.1 document made from the routes' schemas, and a page that shows it and
 * calls it. The page's files come with the package that draws it: nothing is fetched from elsewhere, and the page may
 * not. Neither needs the token (see `access.ts`): they say nothing of this VTEP but its version.
 */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { isGuarded } from './access.js';
import { answers, json } from './answers.js';

/** What the page may load: itself. Images of its style sheet are data. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const TAGS = [
  { name: 'Daemon', description: 'what runs, what hurts it, what happens' },
  { name: 'VNIs', description: 'overlay networks' },
  { name: 'Peers', description: 'remote VTEPs of a VNI' },
  { name: 'FDB', description: 'which MAC lives behind which peer' },
];

/** Describes the routes that are added after this. @param token the API asks for one */
export function describe(
  app: FastifyInstance,
  { version, token }: { version: string; token: boolean },
): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'vtepd',
        version,
        description:
          'Control API of vtepd, a userspace VXLAN VTEP. Errors are problem details (RFC 9457) with a stable code.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      tags: TAGS,
      ...(token && { components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } } }),
    },
    hideUntagged: true,
    transform: ({ schema, url }) => ({
      schema: { ...schema, ...(token && isGuarded(url) && { security: [{ token: [] }] }) },
      url,
    }),
  });
  app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: PAGE_POLICY,
    uiConfig: { validatorUrl: null, docExpansion: 'list' },
  });
  app.register(async (scope) => {
    scope.get(
      '/openapi.json',
      {
        schema: {
          summary: 'This description',
          tags: ['Daemon'],
          operationId: 'getDescription',
          response: answers({
            200: json({ type: 'object', additionalProperties: true }, 'an OpenAPI 3.1 document'),
          }),
        },
      },
      () => app.swagger(),
    );
  });
}
