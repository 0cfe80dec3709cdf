/**
 * Builds the two HTTP servers: the control API, and one with only metrics and health.
 *
 * The control API is REST under `/v1`, health, metrics and its own description. `listen.ts` opens
 * the servers; tests inject requests into them. Every change goes through `Configuration`.
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

/** Builds the API server, which does not listen yet. Close it with `close()`. */
export function buildServer(deps: ControlDeps, limits?: HttpLimits): FastifyInstance {
  const app = createApp(deps.log, limits);
  // Serialises the changes that requests make. A change begins with reading the current settings
  // and ends with the response. `Configuration` also serialises changes by signals and name
  // servers, and checks `If-Match`.
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
 * Builds a server with `/metrics`, `/healthz` and `/readyz` for a listener that other hosts can
 * reach. The server reads counters and changes nothing, requires no token and accepts any `Host`.
 */
export function buildMetricsServer(
  deps: Pick<ControlDeps, 'dataPlane' | 'status' | 'notReady' | 'log'>,
  limits?: HttpLimits,
): FastifyInstance {
  const app = createApp(deps.log, limits);
  const known = collectRoutes(app);
  healthRoutes(app, deps);
  refuseOtherMethods(app, known);
  return app;
}

export type { ControlDeps, StatusInfo } from './deps.js';
