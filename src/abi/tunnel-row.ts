/**
 * Parameters of the outer TAP that sends superframes whole.
 *
 * They are `struct tunnel` of the shim (native-shims/shim.h) as words, which each sending call
 * reads. The descriptor −1 means that there is no outer TAP.
 */
import { SOURCE_SOCKETS } from './limits.js';

export const TUNNEL_FD = 0;
/** Local IPv4 address, 4 bytes. */
export const TUNNEL_LOCAL = 1;
export const TUNNEL_MTU = 2;
export const TUNNEL_TTL = 3;
export const TUNNEL_OPTIONS = 4;
/**
 * Negative errno of a superframe that the outer TAP refused and that was sent as segments; 0 none.
 */
export const TUNNEL_ERROR = 6;
/** UDP source ports, indexed by socket of the source-port pool. */
export const TUNNEL_PORTS = 7;

export const NO_TUNNEL_FD = -1;

/** Creates the parameters without an outer TAP. */
export function makeTunnelRow(): Int32Array {
  const words = new Int32Array(TUNNEL_PORTS + SOURCE_SOCKETS);
  words[TUNNEL_FD] = NO_TUNNEL_FD;
  return words;
}
