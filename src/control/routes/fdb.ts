/**
 * The FDB of a VNI: pages of it, static entries, flush. A static entry names a configured peer, is not aged or
 * evicted, and learning cannot override it.
 */
import type { FastifyInstance } from 'fastify';
import { formatMac } from '../../wire/mac.js';
import { DataPlaneError } from '../../worker/data-plane.js';
import type { ControlDeps } from '../deps.js';
import { ApiError } from '../errors.js';
import { type FdbQuery, fdbFilter, macOf, pageOf, peerOf, vniOf } from '../params.js';
import * as S from '../schemas.js';

interface MacParams {
  readonly vni: string;
  readonly mac: string;
}

export function fdbRoutes(app: FastifyInstance, { dataPlane, log }: ControlDeps): void {
  app.get<{ Params: { vni: string }; Querystring: FdbQuery }>(
    '/v1/vnis/:vni/fdb',
    {
      schema: {
        params: S.vniParams,
        querystring: S.fdbQuery,
        response: { 200: S.listOf(S.fdbEntrySchema), ...S.problems },
      },
    },
    async (request) => {
      const vni = vniOf(dataPlane, request.params);
      const { limit, cursor } = pageOf(request.query);
      const page = await dataPlane.listFdb(vni, fdbFilter(dataPlane, vni, request.query), limit, cursor);
      return {
        items: page.items.map(({ mac, ...entry }) => ({ mac: formatMac(mac.high, mac.low), ...entry })),
        nextCursor: page.nextCursor < 0 ? null : String(page.nextCursor),
      };
    },
  );

  app.delete<{ Params: { vni: string }; Querystring: FdbQuery }>(
    '/v1/vnis/:vni/fdb',
    {
      schema: {
        params: S.vniParams,
        querystring: S.flushQuery,
        response: { 200: S.flushedSchema, ...S.problems },
      },
    },
    async (request) => {
      const vni = vniOf(dataPlane, request.params);
      const filter = fdbFilter(dataPlane, vni, request.query);
      const removed = await dataPlane.flushFdb(vni, filter);
      log.info({ vni, ...filter, removed }, 'FDB flushed by the API');
      return { removed };
    },
  );

  // One answer whether the entry is new or not: putting it twice is putting it once.
  app.put<{ Params: MacParams; Body: { readonly peer: string } }>(
    '/v1/vnis/:vni/fdb/:mac',
    {
      schema: {
        params: S.macParams,
        querystring: S.noQuery,
        body: S.fdbBody,
        response: { 204: S.empty, ...S.problems },
      },
    },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const mac = macOf(request.params);
      const { address } = peerOf(dataPlane, vni, request.body.peer, 409);
      await dataPlane.putFdb(vni, mac, address.text).catch(refusePeerAs409);
      log.info(
        { vni, mac: formatMac(mac.high, mac.low), peer: address.text },
        'static FDB entry set by the API',
      );
      return reply.code(204).send();
    },
  );

  app.delete<{ Params: MacParams }>(
    '/v1/vnis/:vni/fdb/:mac',
    { schema: { params: S.macParams, querystring: S.noQuery, response: { 204: S.empty, ...S.problems } } },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const mac = macOf(request.params);
      await dataPlane.deleteFdb(vni, mac);
      log.info({ vni, mac: formatMac(mac.high, mac.low) }, 'FDB entry removed by the API');
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
