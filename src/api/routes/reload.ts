/**
 * Route of reload: reads flags and file again and applies the differences.
 *
 * An invalid configuration changes nothing.
 */
import type { FastifyInstance } from 'fastify';
import type { LimitFunction } from 'p-limit';
import { ConfigError } from '../../config/config-error.js';
import { CHANGE_CODES, guardedAnswers, json } from '../answers.js';
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
        summary: 'Reload the configuration file and apply the differences, as SIGHUP does',
        tags: ['Daemon'],
        operationId: 'reload',
        querystring: noQuery,
        response: guardedAnswers(
          {
            200: json(reloadSchema, 'settings changed, and settings that take effect only at the next start'),
          },
          ['config_invalid', 'table_full', 'peer_unresolved', ...CHANGE_CODES],
        ),
      },
    },
    async (request) => {
      const report = await oneAtATime(reload).catch(refuseAsConflict);
      const message = report.hasFile
        ? 'configuration reloaded by the API'
        : 'reload requested by the API, but vtepd runs without --config';
      log.info({ request: request.id, ...report }, message);
      return report;
    },
  );
}

/** Answers 409 for an invalid file, because the request itself is valid. */
function refuseAsConflict(error: unknown): never {
  if (error instanceof ConfigError) throw new ApiError('config_invalid', error.message);
  throw error;
}
