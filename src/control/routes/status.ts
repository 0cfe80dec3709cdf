/** The daemon as a whole: what runs, what hurts it, health for a supervisor, the counters as JSON and as metrics. */
import type { FastifyInstance } from 'fastify';
import { countersText } from '../counters.js';
import type { ControlDeps } from '../deps.js';
import { ApiError } from '../errors.js';
import { createMetrics } from '../metrics.js';
import {
  countersSchema,
  findingSchema,
  healthSchema,
  listOf,
  noQuery,
  problems,
  statusSchema,
} from '../schemas.js';
import { textStream } from '../text-stream.js';
import { vniView } from './vnis.js';

const JSON_TYPE = 'application/json; charset=utf-8';

export function statusRoutes(app: FastifyInstance, deps: ControlDeps): void {
  app.get(
    '/v1/status',
    { schema: { querystring: noQuery, response: { 200: statusSchema, ...problems } } },
    () => statusView(deps),
  );

  app.get(
    '/v1/counters',
    { schema: { querystring: noQuery, response: { 200: countersSchema, ...problems } } },
    (_request, reply) => reply.type(JSON_TYPE).send(textStream(countersText(deps.dataPlane, deps.status()))),
  );

  app.get(
    '/v1/doctor',
    { schema: { querystring: noQuery, response: { 200: listOf(findingSchema), ...problems } } },
    async () => ({ items: await deps.doctor(), nextCursor: null }),
  );

  // The process answers: nothing more is asked here, so that a busy data plane is not restarted.
  app.get('/healthz', { schema: { response: { 200: healthSchema, ...problems } } }, () => ({ status: 'ok' }));

  app.get('/readyz', { schema: { response: { 200: healthSchema, ...problems } } }, () => {
    if (deps.dataPlane.ready) return { status: 'ready' };
    throw new ApiError('not_ready', 'the data plane has not acknowledged the whole configuration');
  });

  const metrics = createMetrics(deps);
  app.get('/metrics', { schema: { response: { 200: { type: 'string' }, ...problems } } }, (_request, reply) =>
    reply.type(metrics.contentType).send(metrics.scrape()),
  );
}

function statusView({ dataPlane, status }: ControlDeps) {
  const { version, startedAtMs, underlay, warnings } = status();
  return {
    version,
    startedAt: new Date(startedAtMs).toISOString(),
    uptimeS: Math.floor((Date.now() - startedAtMs) / 1000),
    ready: dataPlane.ready,
    underlay: { ...underlay, device: underlay.device || null },
    vnis: dataPlane.vnis().map((vni) => vniView(dataPlane, vni)),
    warnings,
  };
}
