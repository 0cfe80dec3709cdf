/**
 * Routes of a VNI's peers: list, add, get and remove.
 *
 * A change is answered after the data plane has applied it. A peer is configured by its host, which
 * is an IP address or a name. Each IP address in use of a name is an item of the list, with the
 * name as `address` and the IP address as `resolved`. In a path, both the name and the IP address
 * identify the peer. Only the configured host can be removed. A peer without an IP address, because
 * its name has not resolved or because it is this host, is an item whose `resolved` is null.
 */
import type { FastifyInstance } from 'fastify';
import type { LimitFunction } from 'p-limit';
import { type Body, readPeerBody } from '../../config/body.js';
import { parsePeerHost } from '../../config/peer.js';
import type { PeerSettings } from '../../config/settings.js';
import { PEER_ROW } from '../../exchange/counters.js';
import type { PeerState } from '../../exchange/data-plane.js';
import { BODY_CODES, CHANGE_CODES, guardedAnswers, json, noBody } from '../answers.js';
import { readPeer, readTraffic } from '../counters.js';
import type { ControlDeps, StatusInfo } from '../deps.js';
import { ApiError } from '../errors.js';
import { answersUnchanged, etagOf, refuseStale } from '../etag.js';
import { type PageQuery, pageOf } from '../pages.js';
import { parseWith, vniOf } from '../params.js';
import * as S from '../schemas.js';

interface PeerParams {
  readonly vni: string;
  readonly address: string;
}

const TAG = { ETag: 'entity tag of the settings' };
const TAGS = ['Peers'];

export function peerRoutes(app: FastifyInstance, deps: ControlDeps, oneAtATime: LimitFunction): void {
  const { dataPlane, configuration, log, status } = deps;

  app.get<{ Params: { vni: string }; Querystring: PageQuery }>(
    '/v1/vnis/:vni/peers',
    {
      schema: {
        summary: 'List peers of a VNI with their counters, by address',
        tags: TAGS,
        operationId: 'listPeers',
        params: S.vniParams,
        querystring: S.pageQuery,
        response: guardedAnswers({ 200: json(S.listOf(S.peerSchema), 'a page of peers') }, ['vni_not_found']),
      },
    },
    ({ params, query }) =>
      pageOf(peerViews(deps, vniOf(dataPlane, params)), keyOf, query.limit, query.cursor),
  );

  app.post<{ Params: { vni: string }; Body: Body }>(
    '/v1/vnis/:vni/peers',
    {
      schema: {
        summary: 'Add a peer',
        tags: TAGS,
        operationId: 'addPeer',
        params: S.vniParams,
        querystring: S.noQuery,
        body: S.peerBody,
        response: guardedAnswers(
          {
            201: json(S.peerSchema, 'the added peer; for a name its first address', {
              ...TAG,
              Location: 'path of the peer',
            }),
          },
          ['vni_not_found', 'peer_exists', 'peer_unresolved', 'table_full', ...BODY_CODES, ...CHANGE_CODES],
        ),
      },
    },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const peer = readPeerBody(request.body, status().underlay.port);
      refuseOwnAddress(peer, status());
      const added = await oneAtATime(() => configuration.addPeer(vni, peer));
      log.info(
        { request: request.id, vni, peer: peer.host, addresses: textsOf(added) },
        'peer added by the API',
      );
      const view = findPeer(deps, vni, peer.host);
      return reply
        .code(201)
        .headers({
          location: `/v1/vnis/${vni}/peers/${encodeURIComponent(peer.host)}`,
          etag: peerTag(view),
        })
        .send(view);
    },
  );

  app.get<{ Params: PeerParams }>(
    '/v1/vnis/:vni/peers/:address',
    {
      schema: {
        summary: 'Get a peer; for a name with several addresses the first',
        tags: TAGS,
        operationId: 'getPeer',
        params: S.peerParams,
        querystring: S.noQuery,
        headers: S.ifNoneMatch,
        response: guardedAnswers(
          {
            200: json(S.peerSchema, 'the peer', TAG),
            304: noBody('the settings still match If-None-Match'),
          },
          ['vni_not_found', 'peer_not_found'],
        ),
      },
    },
    (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const view = findPeer(deps, vni, hostOf(request.params));
      return answersUnchanged(request, reply, peerTag(view)) ? reply : view;
    },
  );

  app.delete<{ Params: PeerParams }>(
    '/v1/vnis/:vni/peers/:address',
    {
      schema: {
        summary: 'Remove a peer and all its FDB entries',
        tags: TAGS,
        operationId: 'removePeer',
        params: S.peerParams,
        querystring: S.noQuery,
        headers: S.ifMatch,
        response: guardedAnswers({ 204: noBody('removed') }, [
          'vni_not_found',
          'peer_not_found',
          'peer_of_name',
          'precondition_failed',
          ...CHANGE_CODES,
        ]),
      },
    },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const host = hostOf(request.params);
      const precondition = () =>
        refuseStale(request, peerTag(findPeer(deps, vni, host)), `peer ${host} of VNI ${vni}`);
      await oneAtATime(() => configuration.removePeer(vni, host, precondition));
      log.info({ request: request.id, vni, peer: host }, 'peer removed by the API');
      return reply.code(204).send();
    },
  );
}

export type PeerView = ReturnType<typeof view> | ReturnType<typeof viewWithoutAddress>;

/**
 * Finds a peer by its address or its configured host.
 *
 * @throws ApiError peer_not_found
 */
function findPeer(deps: ControlDeps, vni: number, host: string): PeerView {
  const found = peerViews(deps, vni).find(({ address, resolved }) => address === host || resolved === host);
  if (found !== undefined) return found;
  throw new ApiError('peer_not_found', `VNI ${vni} has no peer ${host}`);
}

function peerViews({ dataPlane, configuration, status }: ControlDeps, vni: number): PeerView[] {
  const info = status();
  const configured = configuration.settings(vni).peers;
  const many = new Set(configured.filter(({ all }) => all).map(({ host }) => host));
  const views: PeerView[] = dataPlane
    .snapshot(vni)
    .peers.flatMap(({ peer, row }) =>
      peer === undefined ? [] : [view(peer, many.has(peer.name), row, info)],
    );
  const known = new Set(views.flatMap(({ address, resolved }) => [address, resolved]));
  return views.concat(configured.filter(({ host }) => !known.has(host)).map(viewWithoutAddress));
}

function view(peer: PeerState, all: boolean, row: Float64Array, status: StatusInfo) {
  const { address: resolved, ...counters } = readPeer(peer, row, status);
  return {
    address: peer.name || resolved,
    port: peer.address.port,
    flood: peer.flood,
    all,
    resolved,
    ...counters,
  };
}

/** A peer that gets no frames: its name has not resolved, or its addresses are those of this host. */
function viewWithoutAddress({ host, port, flood, all }: PeerSettings) {
  const noTraffic = { lastSeen: null, pathMtu: null, ...readTraffic(new Float64Array(PEER_ROW), 0) };
  return { address: host, port, flood, all: all === true, resolved: null, ...noTraffic };
}

/**
 * Unique key of a peer: two peers of a VNI never have the same address, and a name never equals an
 * address.
 */
function keyOf({ resolved, address }: PeerView): string {
  return resolved ?? address;
}

function peerTag({ address, port, flood, all }: PeerView): string {
  return etagOf({ address, port, flood, all });
}

function hostOf({ address }: PeerParams): string {
  return parseWith('peer', address, parsePeerHost);
}

function textsOf(peers: readonly PeerState[]): string[] {
  return peers.map(({ address }) => address.text);
}

function refuseOwnAddress({ host }: PeerSettings, { underlay }: StatusInfo): void {
  if (!underlay.local.includes(host)) return;
  throw new ApiError('bad_request', `address ${host}: is this VTEP's own; a peer must be another host`);
}
