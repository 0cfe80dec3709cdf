/**
 * Layout check of the structures shared with the shim.
 *
 * A shim of another build would read the wrong columns without any error, so the check rejects such
 * a shim at load. The binding calls this check once per thread.
 */
import { COLUMN_LEN, COLUMNS } from './batch.js';
import {
  BATCH_CAP,
  PATH_ERRORS_CAP,
  PEER_ROW_LEN,
  SEND_SOCKETS,
  SOURCE_SOCKETS,
  VXLAN_HEADROOM,
} from './limits.js';
import {
  TUNNEL_ERROR,
  TUNNEL_FD,
  TUNNEL_LOCAL,
  TUNNEL_MTU,
  TUNNEL_OPTIONS,
  TUNNEL_PORTS,
  TUNNEL_TTL,
} from './tunnel-row.js';

/**
 * Every number on which the shim and TypeScript must agree, indexed by the shim's name for it;
 * sizes and offsets in bytes.
 */
export const EXPECTED_LAYOUT: Readonly<Record<string, number>> = Object.freeze({
  abi: 6,
  BATCH_CAP,
  SOURCE_SOCKETS,
  SEND_SOCKETS,
  VXLAN_LEN: VXLAN_HEADROOM,
  PATH_ERRORS_CAP,
  WAIT_CAP: 256,
  WAIT_ERROR_BIT: 0x40000000,
  'sizeof.batch': COLUMNS.length * COLUMN_LEN,
  ...Object.fromEntries(COLUMNS.map((name, k) => [`offsetof.batch.${name}`, k * COLUMN_LEN])),
  'sizeof.peerRow': PEER_ROW_LEN,
  'offsetof.peerRow.family': 0,
  'offsetof.peerRow.port': 2,
  'offsetof.peerRow.addr': 4,
  'offsetof.peerRow.scopeId': 20,
  'offsetof.peerRow.vniIdx': 24,
  'offsetof.peerRow.flags': 28,
  PEER_TUNNEL: 4,
  PEER_HELD: 8,
  'sizeof.tunnel': 4 * (TUNNEL_PORTS + SOURCE_SOCKETS),
  'offsetof.tunnel.fd': 4 * TUNNEL_FD,
  'offsetof.tunnel.local': 4 * TUNNEL_LOCAL,
  'offsetof.tunnel.mtu': 4 * TUNNEL_MTU,
  'offsetof.tunnel.ttl': 4 * TUNNEL_TTL,
  'offsetof.tunnel.options': 4 * TUNNEL_OPTIONS,
  'offsetof.tunnel.id': 20,
  'offsetof.tunnel.error': 4 * TUNNEL_ERROR,
  'offsetof.tunnel.ports': 4 * TUNNEL_PORTS,
  'sizeof.pathError': 32,
  'offsetof.pathError.family': 0,
  'offsetof.pathError.port': 2,
  'offsetof.pathError.addr': 4,
  'offsetof.pathError.scopeId': 20,
  'offsetof.pathError.mtu': 24,
  'offsetof.pathError.origin': 28,
  'sizeof.pathErrors': PATH_ERRORS_CAP * 32 + 4,
  'offsetof.pathErrors.count': PATH_ERRORS_CAP * 32,
  'sizeof.waitResult': 16 + 4 * 256,
  'offsetof.waitResult.nowMs': 0,
  'offsetof.waitResult.waitedMs': 8,
  'offsetof.waitResult.tokens': 16,
});

/**
 * Compares the shim's layout with the expected one.
 *
 * @throws Error naming the first difference and the remedy
 */
export function checkLayout(shim: { readonly layout: Readonly<Record<string, number>> }): void {
  for (const [name, expected] of Object.entries(EXPECTED_LAYOUT)) {
    const found = shim.layout[name];
    if (found === expected) continue;
    throw new Error(
      `the native shim is of another build (${name} is ${found ?? 'missing'}, expected ${expected}): run "npm run build"`,
    );
  }
}
