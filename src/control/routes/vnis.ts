/** VNIs as they are configured. They come from flags and file; there is no call that changes them yet. */
import type { FastifyInstance } from 'fastify';
import { V_FDB_DYNAMIC, V_FDB_STATIC } from '../../stats/counters.js';
import type { DataPlane, VniState } from '../../worker/data-plane.js';
import type { ControlDeps } from '../deps.js';
import { vniOf } from '../params.js';
import { listOf, noQuery, problems, vniParams, vniSchema } from '../schemas.js';

export function vniRoutes(app: FastifyInstance, { dataPlane }: ControlDeps): void {
  app.get(
    '/v1/vnis',
    { schema: { querystring: noQuery, response: { 200: listOf(vniSchema), ...problems } } },
    () => ({
      items: dataPlane.vnis().map((vni) => vniView(dataPlane, vni)),
      nextCursor: null,
    }),
  );

  app.get<{ Params: { vni: string } }>(
    '/v1/vnis/:vni',
    { schema: { params: vniParams, querystring: noQuery, response: { 200: vniSchema, ...problems } } },
    (request) => {
      const vni = vniOf(dataPlane, request.params);
      return vniView(dataPlane, dataPlane.vnis().find((state) => state.vni === vni)!);
    },
  );
}

/** Settings by their names in the configuration file. */
export function vniView(dataPlane: DataPlane, { vni, tap, bridge, mac, policy }: VniState) {
  const { vni: row, peers } = dataPlane.totals(vni);
  return {
    vni,
    tap,
    bridge: bridge || null,
    mac,
    overlayMtu: policy.overlayMtu,
    learning: policy.learning,
    ageing: policy.ageingS,
    fdbLimit: policy.fdbLimit,
    flood: policy.flood,
    accept: policy.accept,
    vlan: policy.vlan,
    peers,
    fdb: { static: row[V_FDB_STATIC], dynamic: row[V_FDB_DYNAMIC] },
  };
}
