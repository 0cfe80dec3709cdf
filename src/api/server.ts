/**
 * The two servers: the control API (REST under `/v1`, health, metrics, its own description), and the one that has
 * metrics and health alone. Both are built here; `listen.ts` opens them, tests inject into them. They change nothing
 * themselves: every change goes through `Configuration`.
 */
import type { FastifyInstance } from 'fastify';
import pLimit, { type LimitFunction } from 'p-limit';
import { guard } from './access.js';
import { collectRoutes, createApp, type HttpLimits, refuseOtherMethods } from './app.js';
import type { ControlDeps } from './deps.js';
import { describe } from './openapi.js';
import { captureRoutes } from './routes/capture.js';
import { eventRoutes } from './routes/events.js';
import { fdbRoutes } from './routes/fdb.js';
import { peerRoutes } from './routes/peers.js';
import { probeRoutes } from './routes/probe.js';
import { reloadRoutes } from './routes/reload.js';
import { healthRoutes, statusRoutes } from './routes/status.js';
import { vniRoutes } from './routes/vnis.js';

/** Builds the API; it does not listen. Close it with `close()`. */
export function buildServer(deps: ControlDeps, limits?: HttpLimits): FastifyInstance {
  const app = createApp(deps.log, limits);
  // From the look at what holds to the answer. A signal or a name server takes turns with the API below, where `If-Match` is
  // judged as well.
  const oneAtATime = pLimit(1);
  guard(app, deps.token);
  const routes = (scope: FastifyInstance) => addRoutes(scope, deps, oneAtATime);
  describe(app, { log: deps.log, version: deps.status().version, token: deps.token !== '', routes });
  app.register(async (api) => {
    const known = collectRoutes(api);
    routes(api);
    refuseOtherMethods(api, known);
  });
  return app;
}

function addRoutes(api: FastifyInstance, deps: ControlDeps, oneAtATime: LimitFunction): void {
  statusRoutes(api, deps);
  healthRoutes(api, deps);
  vniRoutes(api, deps, oneAtATime);
  peerRoutes(api, deps, oneAtATime);
  probeRoutes(api, deps);
  fdbRoutes(api, deps, oneAtATime);
  eventRoutes(api, deps);
  captureRoutes(api, deps);
  reloadRoutes(api, deps, oneAtATime);
}

/**
 * `/metrics`, `/healthz` and `/readyz`, for a listener that others reach: it reads numbers and changes nothing, asks for
 * no token and takes any `Host`.
 */
export function buildMetricsServer(
  deps: Pick<ControlDeps, 'dataPlane' | 'status' | 'log'>,
  limits?: HttpLimits,
): FastifyInstance {
  const app = createApp(deps.log, limits);
  const known = collectRoutes(app);
  healthRoutes(app, deps);
  refuseOtherMethods(app, known);
  return app;
}

export type { ControlDeps, StatusInfo } from './deps.js';
