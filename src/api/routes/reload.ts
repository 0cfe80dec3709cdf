/** Flags and file are read anew, and what differs is applied. A configuration that cannot be used changes nothing. */
import type { FastifyInstance } from 'fastify';
import type { LimitFunction } from 'p-limit';
import { ConfigError } from '../../config/config-error.js';
import { guardedAnswers, json, OF_CHANGES } from '../answers.js';
import type { ControlDeps } from '../deps.js';
import { ApiError } from '../errors.js';
import { noQuery, reloadSchema } from '../schemas.js';

export function reloadRoutes(
  app: FastifyInstance,
  { reload, log }: ControlDeps,
  oneAtATime: LimitFunction,
): void {
  app.post(
    '/v1/reload',
    {
      schema: {
        summary: 'Read the configuration file anew and apply what differs, as SIGHUP does',
        tags: ['Daemon'],
        operationId: 'reload',
        querystring: noQuery,
        response: guardedAnswers(
          { 200: json(reloadSchema, 'what was changed, and what takes effect at the next start') },
          ['config_invalid', 'table_full', 'peer_unresolved', ...OF_CHANGES],
        ),
      },
    },
    async (request) => {
      const report = await oneAtATime(reload).catch(refuseAsConflict);
      const said = report.hasFile
        ? 'configuration reloaded by the API'
        : 'a reload by the API: there is no file';
      log.info({ request: request.id, ...report }, said);
      return report;
    },
  );
}

/** The fault is the file's, not the request's. */
function refuseAsConflict(error: unknown): never {
  if (error instanceof ConfigError) throw new ApiError('config_invalid', error.message);
  throw error;
}
