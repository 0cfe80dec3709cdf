/** Routes of VNIs: list, add, change and remove, while other VNIs forward. */
import type { FastifyInstance } from 'fastify';
import type { LimitFunction } from 'p-limit';
import { type Body, readVniBody, readVniChanges } from '../../config/body.js';
import type { VniSettings } from '../../config/settings.js';
import { parseVni } from '../../config/values.js';
import { V_FDB_DYNAMIC, V_FDB_STATIC } from '../../exchange/counters.js';
import { type DataPlane, DataPlaneError, type VniState } from '../../exchange/data-plane.js';
import { BODY_CODES, CHANGE_CODES, guardedAnswers, json, noBody } from '../answers.js';
import type { Configuration, ControlDeps } from '../deps.js';
import { answersUnchanged, etagOf, refuseStale } from '../etag.js';
import { type PageQuery, pageOf } from '../pages.js';
import { parseWith, vniOf } from '../params.js';
import * as S from '../schemas.js';

type VniDeps = Pick<ControlDeps, 'dataPlane' | 'configuration'>;

interface VniParams {
  readonly vni: string;
}

const TAG = { ETag: 'entity tag of the settings' };
const TAGS = ['VNIs'];

export function vniRoutes(app: FastifyInstance, deps: ControlDeps, oneAtATime: LimitFunction): void {
  const { dataPlane, configuration, log, status } = deps;

  app.get<{ Querystring: PageQuery }>(
    '/v1/vnis',
    {
      schema: {
        summary: 'List VNIs, by number',
        tags: TAGS,
        operationId: 'listVnis',
        querystring: S.pageQuery,
        response: guardedAnswers({ 200: json(S.listOf(S.vniSchema), 'a page of VNIs') }),
      },
    },
    ({ query }) => {
      const after = query.cursor === undefined ? undefined : parseWith('cursor', query.cursor, parseVni);
      const page = pageOf(vniStates(deps), ({ vni }) => vni, query.limit, after);
      return { ...page, items: page.items.map((state) => vniView(deps, state)) };
    },
  );

  app.post<{ Body: Body }>(
    '/v1/vnis',
    {
      schema: {
        summary: 'Add a VNI with its TAP',
        tags: TAGS,
        operationId: 'addVni',
        querystring: S.noQuery,
        body: S.vniBody,
        response: guardedAnswers(
          { 201: json(S.vniSchema, 'the added VNI', { ...TAG, Location: 'path of the VNI' }) },
          ['vni_exists', 'table_full', 'peer_unresolved', ...BODY_CODES, ...CHANGE_CODES],
        ),
      },
    },
    async (request, reply) => {
      const settings = readVniBody(request.body, status().underlay.port);
      const { vni } = settings;
      await oneAtATime(() => configuration.addVni(settings));
      log.info({ request: request.id, vni }, 'VNI added by the API');
      return reply
        .code(201)
        .headers({ location: `/v1/vnis/${vni}`, etag: vniTag(configuration.settings(vni)) })
        .send(vniView(deps, stateOf(deps, vni)));
    },
  );

  app.get<{ Params: VniParams }>(
    '/v1/vnis/:vni',
    {
      schema: {
        summary: 'Get a VNI',
        tags: TAGS,
        operationId: 'getVni',
        params: S.vniParams,
        querystring: S.noQuery,
        headers: S.ifNoneMatch,
        response: guardedAnswers(
          {
            200: json(S.vniSchema, 'the VNI', TAG),
            304: noBody('the settings still match If-None-Match'),
          },
          ['vni_not_found'],
        ),
      },
    },
    (request, reply) => {
      const vni = parseWith('vni', request.params.vni, parseVni);
      const leftover = leftovers(dataPlane).find((state) => state.vni === vni);
      if (leftover) return vniView(deps, leftover);
      vniOf(dataPlane, request.params);
      if (answersUnchanged(request, reply, vniTag(configuration.settings(vni)))) return reply;
      return vniView(deps, stateOf(deps, vni));
    },
  );

  app.patch<{ Params: VniParams; Body: Body }>(
    '/v1/vnis/:vni',
    {
      schema: {
        summary: 'Change settings of a VNI; settings absent from the body keep their values',
        tags: TAGS,
        operationId: 'changeVni',
        params: S.vniParams,
        querystring: S.noQuery,
        headers: S.ifMatch,
        body: S.vniChanges,
        response: guardedAnswers({ 200: json(S.vniSchema, 'the VNI after the change', TAG) }, [
          'vni_not_found',
          'precondition_failed',
          ...BODY_CODES,
          ...CHANGE_CODES,
        ]),
      },
    },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const changed = readVniChanges(vni, request.body);
      const precondition = () => refuseStale(request, vniTag(configuration.settings(vni)), `VNI ${vni}`);
      await oneAtATime(() => configuration.changeVni(vni, changed, precondition));
      log.info({ request: request.id, vni, changed }, 'VNI changed by the API');
      return reply
        .header('etag', vniTag(configuration.settings(vni)))
        .send(vniView(deps, stateOf(deps, vni)));
    },
  );

  app.delete<{ Params: VniParams }>(
    '/v1/vnis/:vni',
    {
      schema: {
        summary: 'Remove a VNI with its peers, FDB and the devices that vtepd created for it',
        tags: TAGS,
        operationId: 'removeVni',
        params: S.vniParams,
        querystring: S.noQuery,
        headers: S.ifMatch,
        response: guardedAnswers({ 204: noBody('removed') }, [
          'vni_not_found',
          'precondition_failed',
          ...CHANGE_CODES,
        ]),
      },
    },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const precondition = () => refuseStale(request, vniTag(configuration.settings(vni)), `VNI ${vni}`);
      await oneAtATime(() => configuration.removeVni(vni, precondition));
      log.info({ request: request.id, vni }, 'VNI removed by the API');
      return reply.code(204).send();
    },
  );
}

/**
 * VNIs that are configured, and VNIs that a failed change has left behind. A VNI that is being
 * removed is not listed: it may still forward, but it is no longer configured.
 */
export function vniStates({ dataPlane, configuration }: VniDeps): VniState[] {
  const configured = dataPlane.vnis().filter(({ vni }) => isConfigured(configuration, vni));
  return [...configured, ...leftovers(dataPlane)];
}

/** VNIs that are no longer desired but may still exist on a worker. */
function leftovers(dataPlane: DataPlane): VniState[] {
  const desired = new Set(dataPlane.vnis().map(({ vni }) => vni));
  return dataPlane.settling().filter(({ vni }) => !desired.has(vni));
}

export type VniView = ReturnType<typeof vniView>;

/** Settings by their keys in the configuration file, and the resulting state. */
export function vniView({ dataPlane, configuration }: VniDeps, { vni, tap, bridge, mac, policy }: VniState) {
  const { vni: row, peers } = dataPlane.totals(vni);
  const isSettling = dataPlane.settling().some((state) => state.vni === vni);
  const { mtu, addresses } = isConfigured(configuration, vni)
    ? configuration.settings(vni)
    : { mtu: policy.packetMax || 'auto', addresses: [] };
  return {
    vni,
    state: isSettling ? ('settling' as const) : ('up' as const),
    tap,
    bridge: bridge || null,
    address: addresses,
    mac,
    mtu,
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

function isConfigured(configuration: Configuration, vni: number): boolean {
  try {
    return configuration.settings(vni).vni === vni;
  } catch (error) {
    if (error instanceof DataPlaneError) return false;
    throw error;
  }
}

/**
 * The tag does not cover peers, which have tags of their own. So a change of the VNI does not fail
 * because a peer was added at the same time.
 */
function vniTag({ peers: _, ...settings }: VniSettings): string {
  return etagOf(settings);
}

function stateOf({ dataPlane }: ControlDeps, vni: number): VniState {
  return dataPlane.vnis().find((state) => state.vni === vni)!;
}
