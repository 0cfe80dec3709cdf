/**
 * The two servers: the control API (REST under `/v1`, health, metrics, its own description), and the one that has
 * metrics and health alone. Both are built here; `listen.ts` opens them, tests inject into them. They change nothing
 * themselves: every change goes through `Configuration`.
 */
import type { FastifyInstance } from 'fastify';
import { guard } from './access.js';
import { collectRoutes, createApp, type HttpLimits, refuseOtherMethods } from './app.js';
import { Changes } from './changes.js';
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
  const changes = new Changes();
  guard(app, deps.token);
  const routes = (scope: FastifyInstance) => addRoutes(scope, deps, changes);
  describe(app, { log: deps.log, version: deps.status().version, token: deps.token !== '', routes });
  app.register(async (api) => {
    const known = collectRoutes(api);
    routes(api);
    refuseOtherMethods(api, known);
  });
  return app;
}

function addRoutes(api: FastifyInstance, deps: ControlDeps, changes: Changes): void {
  statusRoutes(api, deps);
  healthRoutes(api, deps);
  vniRoutes(api, deps, changes);
  peerRoutes(api, deps, changes);
  probeRoutes(api, deps);
  fdbRoutes(api, deps, changes);
  eventRoutes(api, deps);
  captureRoutes(api, deps);
  reloadRoutes(api, deps, changes);
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
