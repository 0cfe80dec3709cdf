/**
 * The API's description of itself: an OpenAPI 3.1 document made from the routes' schemas, and a page that shows it and
 * calls it. The page's files come with the package that draws it: nothing is fetched from elsewhere, and the page may
 * not. Neither needs the token (see `access.ts`): they say nothing of this VTEP but its version.
 *
 * Few ask for either, and the packages behind them take a tenth of a start. So both are a server of their own, with the same
 * routes, which is made at the first request for them and never listens.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isGuarded } from './access.js';
import { answers, json } from './answers.js';
import { createApp } from './app.js';
import type { ControlDeps } from './deps.js';

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

export interface Described {
  readonly log: ControlDeps['log'];
  readonly version: string;
  /** The API asks for one. */
  readonly token: boolean;
  /** Adds the routes that are described. */
  readonly routes: (scope: FastifyInstance) => void;
}

/** Answers what asks for the description or its page. Who may ask is `app`'s to say. */
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
    // One that could not be made has told whoever asked for it.
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
  // Routes are described as they are added, so what describes them comes first.
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
    routes(scope);
  });
  await app.ready();
  return app;
}
