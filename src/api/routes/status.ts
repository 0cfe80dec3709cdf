/** Routes of the daemon: status, counters, doctor, health and metrics. */
import type { FastifyInstance } from 'fastify';
import { answers, guardedAnswers, json, media } from '../answers.js';
import { clientOf } from '../connections.js';
import { countersText } from '../counters.js';
import type { ControlDeps } from '../deps.js';
import { ApiError, NotReadyError } from '../errors.js';
import { createMetrics } from '../metrics.js';
import { onceClosed } from '../once-closed.js';
import { countersSchema, findingSchema, healthSchema, listOf, noQuery, statusSchema } from '../schemas.js';
import { textInTurn } from '../text-stream.js';
import { type TurnLimits, Turns } from '../turns.js';
import { vniStates, vniView } from './vnis.js';

const JSON_TYPE = 'application/json; charset=utf-8';
const TAGS = ['Daemon'];

/** Limits of `/v1/counters`: responses being written, and queued requests. */
const COUNTERS: TurnLimits = { places: 8, perClient: 4, waiting: 32, waitingPerClient: 16 };
/**
 * Limits of `/v1/doctor`: active doctors, each with several child processes, and queued requests.
 */
const DOCTORS: TurnLimits = { places: 2, perClient: 2, waiting: 8, waitingPerClient: 8 };

export function statusRoutes(app: FastifyInstance, deps: ControlDeps): void {
  app.get(
    '/v1/status',
    {
      schema: {
        summary: 'Get status, VNIs, warnings and notices',
        tags: TAGS,
        operationId: 'getStatus',
        querystring: noQuery,
        response: guardedAnswers({ 200: json(statusSchema, 'status of the daemon') }),
      },
    },
    () => statusView(deps),
  );

  const counters = new Turns(COUNTERS);
  app.get(
    '/v1/counters',
    {
      schema: {
        summary: 'Get all counters that /metrics shows, as JSON',
        tags: TAGS,
        operationId: 'getCounters',
        querystring: noQuery,
        response: guardedAnswers({ 200: json(countersSchema, 'counters by VNI and peer') }, ['overloaded']),
      },
    },
    (request, reply) => {
      const text = () => countersText(deps.dataPlane, deps.status());
      return reply.type(JSON_TYPE).send(textInTurn(counters, clientOf(request.socket.remoteAddress), text));
    },
  );

  const doctors = new Turns(DOCTORS);

  app.get(
    '/v1/doctor',
    {
      schema: {
        summary: 'Run the doctor: find causes of frame loss',
        tags: TAGS,
        operationId: 'getDoctor',
        querystring: noQuery,
        response: guardedAnswers(
          { 200: json(listOf(findingSchema), 'findings, each with its remedy (cure)') },
          ['overloaded'],
        ),
      },
    },
    async (request, reply) => {
      const turn = doctors.enter(clientOf(request.socket.remoteAddress), () => {});
      if (turn === undefined)
        throw new ApiError(
          'overloaded',
          `too many runs of the doctor (limits: ${doctors.limits}); retry later`,
        );
      // The doctor continues after its client has disconnected, and keeps its place until its end.
      let runs = false;
      onceClosed(request, reply, () => runs || turn.leave());
      runs = await turn.admitted;
      if (!runs) return { items: [], nextCursor: null };
      return { items: await deps.doctor().finally(turn.leave), nextCursor: null };
    },
  );
}

/** Routes for supervisors and Prometheus, also used by the separate metrics listener. */
export function healthRoutes(
  app: FastifyInstance,
  deps: Pick<ControlDeps, 'dataPlane' | 'status' | 'notReady'>,
): void {
  // Does not check the data plane, so that a supervisor does not restart a busy daemon.
  app.get(
    '/healthz',
    {
      schema: {
        summary: 'Liveness: the process answers',
        tags: TAGS,
        operationId: 'getHealth',
        response: answers({ 200: json(healthSchema, 'ok') }),
      },
    },
    () => ({ status: 'ok' }),
  );

  app.get(
    '/readyz',
    {
      schema: {
        summary: 'Readiness: the data plane has applied the whole configuration, and no fault prevents it',
        tags: TAGS,
        operationId: 'getReadiness',
        response: answers({ 200: json(healthSchema, 'ready') }, ['not_ready']),
      },
    },
    () => {
      const reasons = deps.notReady();
      if (reasons.length > 0) throw new NotReadyError(reasons);
      return { status: 'ready' };
    },
  );

  const metrics = createMetrics(deps);
  app.get(
    '/metrics',
    {
      schema: {
        summary: 'Get metrics for Prometheus',
        tags: TAGS,
        operationId: 'getMetrics',
        response: guardedAnswers(
          { 200: media('text/plain', { type: 'string' }, 'Prometheus text format 0.0.4') },
          ['overloaded'],
        ),
      },
    },
    (request, reply) =>
      reply.type(metrics.contentType).send(metrics.scrape(clientOf(request.socket.remoteAddress))),
  );
}

export type StatusView = ReturnType<typeof statusView>;

function statusView(deps: ControlDeps) {
  const { version, startedAtMs, uptimeS, underlay, warnings, notices } = deps.status();
  return {
    version,
    startedAt: new Date(startedAtMs).toISOString(),
    uptimeS: Math.floor(uptimeS),
    ready: deps.notReady().length === 0,
    underlay: { ...underlay, device: underlay.device || null },
    vnis: vniStates(deps).map((vni) => vniView(deps, vni)),
    warnings,
    notices,
  };
}
