/**
 * OpenAPI 3.1 description of the API, and a page that displays it.
 *
 * The document is generated from the routes' schemas. The files of the page are part of the package
 * that renders the page; the content security policy of the page forbids loading anything from
 * other servers. Document and page need no token (`access.ts`), because all that they reveal about
 * this VTEP is its version.
 *
 * Document and page are rarely used, and loading their packages would take a tenth of the start-up
 * time. So the first request creates a second server for them, which has the same routes and never
 * listens.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isGuarded } from './access.js';
import { answers, json } from './answers.js';
import { createApp } from './app.js';
import type { ControlDeps } from './deps.js';

/**
 * Content security policy of the page. It permits this server, and data URLs for the images of the
 * style sheet.
 */
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
  { name: 'Daemon', description: 'status, warnings, notices, events and captures of the daemon' },
  { name: 'VNIs', description: 'overlay networks' },
  { name: 'Peers', description: 'remote VTEPs of a VNI' },
  { name: 'FDB', description: 'forwarding database of a VNI: MAC address to peer' },
];

export interface Described {
  readonly log: ControlDeps['log'];
  readonly version: string;
  /** True when the API requires a token. */
  readonly token: boolean;
  /** Adds the described routes. */
  readonly routes: (scope: FastifyInstance) => void;
}

/** Adds the routes of the description and its page to `app`, whose access control applies. */
export function describe(app: FastifyInstance, api: Described): void {
  let made: Promise<FastifyInstance> | undefined;
  const pass = async ({ raw }: FastifyRequest, reply: FastifyReply): Promise<void> => {
    made ??= makeDescription(api);
    const description = await made;
    reply.hijack();
    description.routing(raw, reply.raw);
  };
  for (const url of ['/openapi.json', '/docs', '/docs/*']) app.get(url, pass);
  app.addHook('onClose', async () => {
    // If the creation failed, its error went to the client whose request caused the creation.
    const description = await made?.catch(() => undefined);
    await description?.close();
  });
}

async function makeDescription({ log, version, token, routes }: Described): Promise<FastifyInstance> {
  const [{ default: swagger }, { default: swaggerUi }] = await Promise.all([
    import('@fastify/swagger'),
    import('@fastify/swagger-ui'),
  ]);
  const app = createApp(log);
  // The plugin collects routes when they are added, so the plugin is registered first.
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
          summary: 'Get this OpenAPI document',
          tags: ['Daemon'],
          operationId: 'getDescription',
          response: answers({
            200: json({ type: 'object', additionalProperties: true }, 'an OpenAPI 3.1 document'),
          }),
        },
      },
      () => app.swagger(),
    );
    routes(scope);
  });
  await app.ready();
  return app;
}
