/** The daemon as a whole: what runs, what hurts it, health for a supervisor, the counters as JSON and as metrics. */
import type { FastifyInstance } from 'fastify';
import { answers, guardedAnswers, json, media } from '../answers.js';
import { clientOf } from '../connections.js';
import { countersText } from '../counters.js';
import type { ControlDeps } from '../deps.js';
import { ApiError } from '../errors.js';
import { createMetrics } from '../metrics.js';
import { onceClosed } from '../once-closed.js';
import { countersSchema, findingSchema, healthSchema, listOf, noQuery, statusSchema } from '../schemas.js';
import { textInTurn } from '../text-stream.js';
import { type TurnLimits, Turns } from '../turns.js';
import { vniStates, vniView } from './vnis.js';

const JSON_TYPE = 'application/json; charset=utf-8';
const TAGS = ['Daemon'];

/** Texts of the counters that are written at once, and that wait. */
const COUNTERS: TurnLimits = { places: 8, perClient: 4, waiting: 32, waitingPerClient: 16 };
/** Runs of the doctor at once, each with some child processes, and those that wait. */
const DOCTORS: TurnLimits = { places: 2, perClient: 2, waiting: 8, waitingPerClient: 8 };

export function statusRoutes(app: FastifyInstance, deps: ControlDeps): void {
  app.get(
    '/v1/status',
    {
      schema: {
        summary: 'What runs, and what hurts it',
        tags: TAGS,
        operationId: 'getStatus',
        querystring: noQuery,
        response: guardedAnswers({ 200: json(statusSchema, 'status') }),
      },
    },
    () => statusView(deps),
  );

  const counters = new Turns(COUNTERS);
  app.get(
    '/v1/counters',
    {
      schema: {
        summary: 'All that the metrics show',
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
        summary: 'What keeps frames from arriving',
        tags: TAGS,
        operationId: 'getDoctor',
        querystring: noQuery,
        response: guardedAnswers(
          { 200: json(listOf(findingSchema), 'what was found, with the cure of each') },
          ['overloaded'],
        ),
      },
    },
    async (request, reply) => {
      const turn = doctors.enter(clientOf(request.socket.remoteAddress), () => {});
      if (turn === undefined)
        throw new ApiError(
          'overloaded',
          `as many runs of the doctor as may wait do so (${doctors.limits}); try again later`,
        );
      // A run goes on when its client has gone, and keeps its place until then.
      let runs = false;
      onceClosed(request, reply, () => runs || turn.leave());
      runs = await turn.mine;
      if (!runs) return { items: [], nextCursor: null };
      return { items: await deps.doctor().finally(turn.leave), nextCursor: null };
    },
  );
}

/** What supervisors and Prometheus ask; also on a listener of its own. */
export function healthRoutes(app: FastifyInstance, deps: Pick<ControlDeps, 'dataPlane' | 'status'>): void {
  // The process answers: nothing more is asked here, so that a busy data plane is not restarted.
  app.get(
    '/healthz',
    {
      schema: {
        summary: 'The process answers',
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
        summary: 'The data plane has the whole configuration',
        tags: TAGS,
        operationId: 'getReadiness',
        response: answers({ 200: json(healthSchema, 'ready') }, ['not_ready']),
      },
    },
    () => {
      if (deps.dataPlane.ready) return { status: 'ready' };
      throw new ApiError('not_ready', 'the data plane has not acknowledged the whole configuration');
    },
  );

  const metrics = createMetrics(deps);
  app.get(
    '/metrics',
    {
      schema: {
        summary: 'The counters for Prometheus',
        tags: TAGS,
        operationId: 'getMetrics',
        response: guardedAnswers({ 200: media('text/plain', { type: 'string' }, 'text format 0.0.4') }, [
          'overloaded',
        ]),
      },
    },
    (request, reply) =>
      reply.type(metrics.contentType).send(metrics.scrape(clientOf(request.socket.remoteAddress))),
  );
}

export type StatusView = ReturnType<typeof statusView>;

function statusView(deps: ControlDeps) {
  const { dataPlane, status } = deps;
  const { version, startedAtMs, uptimeS, underlay, warnings } = status();
  return {
    version,
    startedAt: new Date(startedAtMs).toISOString(),
    uptimeS: Math.floor(uptimeS),
    ready: dataPlane.ready,
    underlay: { ...underlay, device: underlay.device || null },
    vnis: vniStates(deps).map((vni) => vniView(deps, vni)),
    warnings,
  };
}
