/**
 * Peers of a VNI: list, add, look at, remove. A change is answered after the data plane has applied it. `address`
 * is what the peer was given as, an address or a name; `resolved` the address in use, and either finds the peer.
 */
import type { FastifyInstance } from 'fastify';
import { parseIpAddress } from '../../wire/ip-address.js';
import type { DataPlane, PeerAddress, PeerState } from '../../worker/data-plane.js';
import { readPeer } from '../counters.js';
import type { ControlDeps, StatusInfo } from '../deps.js';
import { ApiError } from '../errors.js';
import { peerHost, peerOf, vniOf } from '../params.js';
import { empty, listOf, noQuery, peerBody, peerParams, peerSchema, problems, vniParams } from '../schemas.js';

interface PeerBody {
  readonly address: string;
  readonly port?: number;
  readonly flood?: boolean;
}

export function peerRoutes(app: FastifyInstance, deps: ControlDeps): void {
  const { dataPlane, log, status } = deps;

  app.get<{ Params: { vni: string } }>(
    '/v1/vnis/:vni/peers',
    {
      schema: { params: vniParams, querystring: noQuery, response: { 200: listOf(peerSchema), ...problems } },
    },
    (request) => ({
      items: peerViews(dataPlane, vniOf(dataPlane, request.params), status()),
      nextCursor: null,
    }),
  );

  app.post<{ Params: { vni: string }; Body: PeerBody }>(
    '/v1/vnis/:vni/peers',
    {
      schema: {
        params: vniParams,
        querystring: noQuery,
        body: peerBody,
        response: { 201: peerSchema, ...problems },
      },
    },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const host = peerHost(request.body.address);
      const address = await resolve(deps, host, request.body.port);
      const name = parseIpAddress(host) === undefined ? host : '';
      const pathMtu = status().pathMtu(address.text) ?? 0;
      const { flood = true } = request.body;
      const peer = await dataPlane.addPeer(vni, { address, flood, name, pathMtu });
      log.info({ vni, peer: address.text }, 'peer added by the API');
      return reply
        .code(201)
        .header('location', `/v1/vnis/${vni}/peers/${encodeURIComponent(address.text)}`)
        .send(peerView(dataPlane, vni, peer, status()));
    },
  );

  app.get<{ Params: { vni: string; address: string } }>(
    '/v1/vnis/:vni/peers/:address',
    { schema: { params: peerParams, querystring: noQuery, response: { 200: peerSchema, ...problems } } },
    (request) => {
      const vni = vniOf(dataPlane, request.params);
      return peerView(dataPlane, vni, peerOf(dataPlane, vni, request.params.address), status());
    },
  );

  app.delete<{ Params: { vni: string; address: string } }>(
    '/v1/vnis/:vni/peers/:address',
    { schema: { params: peerParams, querystring: noQuery, response: { 204: empty, ...problems } } },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const { address } = peerOf(dataPlane, vni, request.params.address);
      await dataPlane.removePeer(vni, address.text);
      log.info({ vni, peer: address.text }, 'peer removed by the API');
      return reply.code(204).send();
    },
  );
}

async function resolve(
  { resolvePeer, status }: ControlDeps,
  host: string,
  port?: number,
): Promise<PeerAddress> {
  const { underlay } = status();
  let address: PeerAddress;
  try {
    address = await resolvePeer(host, port ?? underlay.port);
  } catch (error) {
    throw new ApiError('peer_unresolved', (error as Error).message);
  }
  if (!underlay.local.includes(address.text)) return address;
  throw new ApiError('bad_request', `address ${address.text}: is this VTEP's own; a peer is another host`);
}

function peerViews(dataPlane: DataPlane, vni: number, status: StatusInfo) {
  return dataPlane
    .snapshot(vni)
    .peers.flatMap(({ peer, row }) => (peer === undefined ? [] : [view(peer, row, status)]));
}

function peerView(dataPlane: DataPlane, vni: number, wanted: PeerState, status: StatusInfo) {
  const found = dataPlane.snapshot(vni).peers.find(({ peer }) => peer?.peerIdx === wanted.peerIdx);
  if (found?.peer !== undefined) return view(found.peer, found.row, status);
  throw new ApiError(
    'peer_not_found',
    `VNI ${vni} has no peer ${wanted.address.text}: it was removed meanwhile`,
  );
}

function view(peer: PeerState, row: Float64Array, status: StatusInfo) {
  const { address: resolved, ...counters } = readPeer(peer, row, status);
  return {
    address: peer.name || resolved,
    port: peer.address.port,
    flood: peer.flood,
    resolved,
    ...counters,
  };
}
