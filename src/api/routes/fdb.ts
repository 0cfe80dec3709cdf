/**
 * The FDB of a VNI: pages of it, static entries, flush. A static entry names a configured peer, is not aged or
 * evicted, and learning cannot override it.
 */
import type { FastifyInstance } from 'fastify';
import type { LimitFunction } from 'p-limit';
import { wholeNumber } from '../../config/values.js';
import { DataPlaneError, type FdbEntry } from '../../exchange/data-plane.js';
import { formatMac } from '../../wire/mac.js';
import { guardedAnswers, json, nothing, OF_BODIES, OF_CHANGES, OF_DATA_PLANE, problems } from '../answers.js';
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
        summary: 'Entries of the FDB',
        tags: TAGS,
        operationId: 'listFdb',
        params: S.vniParams,
        querystring: S.fdbQuery,
        response: guardedAnswers({ 200: json(S.listOf(S.fdbEntrySchema), 'a page of entries') }, [
          'vni_not_found',
          'peer_not_found',
          ...OF_DATA_PLANE,
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
        summary: 'Flush: remove all entries that match',
        tags: TAGS,
        operationId: 'flushFdb',
        params: S.vniParams,
        querystring: S.flushQuery,
        response: guardedAnswers({ 200: json(S.flushedSchema, 'how many were removed') }, [
          'vni_not_found',
          'peer_not_found',
          ...OF_CHANGES,
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

  // One answer whether the entry is new or not: putting it twice is putting it once.
  app.put<{ Params: MacParams; Body: { readonly peer: string } }>(
    '/v1/vnis/:vni/fdb/:mac',
    {
      schema: {
        summary: 'Set a static entry, in the place of any other',
        tags: TAGS,
        operationId: 'putFdbEntry',
        params: S.macParams,
        querystring: S.noQuery,
        body: S.fdbBody,
        response: guardedAnswers(
          {
            204: nothing('it holds, whether it is new or was there'),
            409: problems(['peer_not_found', 'fdb_full']),
          },
          ['vni_not_found', ...OF_BODIES, ...OF_CHANGES],
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
        summary: 'Remove an entry, static or dynamic',
        tags: TAGS,
        operationId: 'deleteFdbEntry',
        params: S.macParams,
        querystring: S.noQuery,
        response: guardedAnswers({ 204: nothing('removed') }, [
          'vni_not_found',
          'fdb_entry_not_found',
          ...OF_CHANGES,
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

/** The peer was removed between our look and the change: the same answer as if it had never been there. */
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
