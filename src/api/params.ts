/**
 * Parsers for values in paths, queries and bodies.
 *
 * The rules are those of the configuration. An error names the parameter and the value.
 */
import { ValueError } from '../config/config-error.js';
import { parsePeerHost } from '../config/peer.js';
import { oneOf, parseDeviceMac, parseVni } from '../config/values.js';
import { type DataPlane, type FdbFilter, isPeerOf, type PeerState } from '../exchange/data-plane.js';
import type { MacParts } from '../exchange/protocol.js';
import { parseMac } from '../wire/mac.js';
import { ApiError } from './errors.js';

export interface FdbQuery {
  readonly type?: string;
  readonly peer?: string;
  readonly limit?: string;
  readonly cursor?: string;
}

/** @throws ApiError bad_request, vni_not_found */
export function vniOf(dataPlane: DataPlane, params: { readonly vni: string }): number {
  const vni = parseWith('vni', params.vni, parseVni);
  if (dataPlane.vnis().some((state) => state.vni === vni)) return vni;
  const isLeft = dataPlane.settling().some((state) => state.vni === vni);
  const why = isLeft ? ': a failed change left parts of it, which vtepd is removing (state settling)' : '';
  throw new ApiError('vni_not_found', `VNI ${vni} is not configured${why}`);
}

/**
 * Finds a configured peer by its address or its configured name.
 *
 * @param status HTTP status of peer_not_found
 */
export function peerOf(dataPlane: DataPlane, vni: number, text: string, status?: 404 | 409): PeerState {
  const host = parseWith('peer', text, parsePeerHost);
  const peer = dataPlane.peers(vni).find((each) => isPeerOf(each, host));
  if (peer !== undefined) return peer;
  throw new ApiError('peer_not_found', `VNI ${vni} has no peer ${host}`, status);
}

/** Parses the MAC of a station, which must be unicast. */
export function macOf(params: { readonly mac: string }): MacParts {
  return parseMac(parseWith('mac', params.mac, parseDeviceMac))!;
}

/**
 * @param query `type` and `peer`; without them all entries match
 * @throws ApiError bad_request, peer_not_found
 */
export function fdbFilter(dataPlane: DataPlane, vni: number, query: FdbQuery): FdbFilter {
  const type = parseWith('type', query.type ?? 'all', oneOf('static', 'dynamic', 'all'));
  if (query.peer === undefined) return { type, peer: '' };
  peerOf(dataPlane, vni, query.peer);
  return { type, peer: parseWith('peer', query.peer, parsePeerHost) };
}

/**
 * @param name name of the parameter, for the error
 * @throws ApiError bad_request
 */
export function parseWith<T>(name: string, text: string, parser: (text: string) => T): T {
  try {
    return parser(text);
  } catch (error) {
    if (error instanceof ValueError)
      throw new ApiError('bad_request', `${name} ${JSON.stringify(text)}: ${error.message}`);
    throw error;
  }
}
