/**
 * Routes of a VNI's FDB: list, set static entries, delete and flush.
 *
 * A static entry names a configured peer. The entry does not age, is not evicted, and is not
 * changed by learning.
 */
import type { FastifyInstance } from 'fastify';
import type { LimitFunction } from 'p-limit';
import { wholeNumber } from '../../config/values.js';
import { DataPlaneError, type FdbEntry } from '../../exchange/data-plane.js';
import { formatMac } from '../../wire/mac.js';
import {
  BODY_CODES,
  CHANGE_CODES,
  DATA_PLANE_CODES,
  guardedAnswers,
  json,
  noBody,
  problems,
} from '../answers.js';
import type { ControlDeps } from '../deps.js';
import { ApiError } from '../errors.js';
import { limitOf } from '../pages.js';
import { type FdbQuery, fdbFilter, macOf, parseWith, peerOf, vniOf } from '../params.js';
import * as S from '../schemas.js';

interface MacParams {
  readonly vni: string;
  readonly mac: string;
}

const TAGS = ['FDB'];
const parseCursor = wholeNumber(0, Number.MAX_SAFE_INTEGER);

export function fdbRoutes(
  app: FastifyInstance,
  { dataPlane, configuration, log }: ControlDeps,
  oneAtATime: LimitFunction,
): void {
  app.get<{ Params: { vni: string }; Querystring: FdbQuery }>(
    '/v1/vnis/:vni/fdb',
    {
      schema: {
        summary: 'List FDB entries',
        tags: TAGS,
        operationId: 'listFdb',
        params: S.vniParams,
        querystring: S.fdbQuery,
        response: guardedAnswers({ 200: json(S.listOf(S.fdbEntrySchema), 'a page of entries') }, [
          'vni_not_found',
          'peer_not_found',
          ...DATA_PLANE_CODES,
        ]),
      },
    },
    async (request) => {
      const vni = vniOf(dataPlane, request.params);
      const limit = limitOf(request.query.limit);
      const cursor = parseWith('cursor', request.query.cursor ?? '0', parseCursor);
      const page = await dataPlane.listFdb(vni, fdbFilter(dataPlane, vni, request.query), limit, cursor);
      return {
        items: page.items.map(fdbView),
        nextCursor: page.nextCursor < 0 ? null : String(page.nextCursor),
      };
    },
  );

  app.delete<{ Params: { vni: string }; Querystring: FdbQuery }>(
    '/v1/vnis/:vni/fdb',
    {
      schema: {
        summary: 'Flush the FDB: remove all matching entries',
        tags: TAGS,
        operationId: 'flushFdb',
        params: S.vniParams,
        querystring: S.flushQuery,
        response: guardedAnswers({ 200: json(S.flushedSchema, 'number of entries removed') }, [
          'vni_not_found',
          'peer_not_found',
          ...CHANGE_CODES,
        ]),
      },
    },
    async (request) => {
      const vni = vniOf(dataPlane, request.params);
      const filter = fdbFilter(dataPlane, vni, request.query);
      const removed = await oneAtATime(() => configuration.flushFdb(vni, filter));
      log.info({ request: request.id, vni, ...filter, removed }, 'FDB flushed by the API');
      return { removed };
    },
  );

  // The status is the same for a new and for an existing entry, because PUT is idempotent.
  app.put<{ Params: MacParams; Body: { readonly peer: string } }>(
    '/v1/vnis/:vni/fdb/:mac',
    {
      schema: {
        summary: 'Set a static entry; replaces any entry of that MAC',
        tags: TAGS,
        operationId: 'putFdbEntry',
        params: S.macParams,
        querystring: S.noQuery,
        body: S.fdbBody,
        response: guardedAnswers(
          {
            204: noBody('the entry is set; same answer if it existed'),
            409: problems(['peer_not_found', 'fdb_full']),
          },
          ['vni_not_found', ...BODY_CODES, ...CHANGE_CODES],
        ),
      },
    },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const mac = macOf(request.params);
      const { address } = peerOf(dataPlane, vni, request.body.peer, 409);
      await oneAtATime(() => configuration.putFdb(vni, mac, address.text)).catch(refusePeerAs409);
      log.info(
        { request: request.id, vni, mac: formatMac(mac.high, mac.low), peer: address.text },
        'static FDB entry set by the API',
      );
      return reply.code(204).send();
    },
  );

  app.delete<{ Params: MacParams }>(
    '/v1/vnis/:vni/fdb/:mac',
    {
      schema: {
        summary: 'Remove a static or dynamic entry',
        tags: TAGS,
        operationId: 'deleteFdbEntry',
        params: S.macParams,
        querystring: S.noQuery,
        response: guardedAnswers({ 204: noBody('removed') }, [
          'vni_not_found',
          'fdb_entry_not_found',
          ...CHANGE_CODES,
        ]),
      },
    },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const mac = macOf(request.params);
      await oneAtATime(() => configuration.deleteFdb(vni, mac));
      log.info(
        { request: request.id, vni, mac: formatMac(mac.high, mac.low) },
        'FDB entry removed by the API',
      );
      return reply.code(204).send();
    },
  );
}

/** Answers 409, as for an unknown peer, if the peer was removed after the check. */
function refusePeerAs409(error: unknown): never {
  if (error instanceof DataPlaneError && error.code === 'peer_not_found') {
    throw new ApiError('peer_not_found', error.message, 409);
  }
  throw error;
}

export type FdbView = ReturnType<typeof fdbView>;

function fdbView({ mac, ...entry }: FdbEntry) {
  return { mac: formatMac(mac.high, mac.low), ...entry };
}
