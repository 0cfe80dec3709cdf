/**
 * Parameters of the outer TAP that sends superframes whole.
 *
 * The parameters are `struct tunnel` of the shim (native-shims/shim.h) as words. Each sending call
 * reads them. The descriptor −1 means that there is no outer TAP.
 */
import { SOURCE_SOCKETS } from './limits.js';

export const TUNNEL_FD = 0;
/** Local IPv4 address, 4 bytes. */
export const TUNNEL_LOCAL = 1;
export const TUNNEL_MTU = 2;
export const TUNNEL_TTL = 3;
export const TUNNEL_OPTIONS = 4;
/**
 * Negative errno with which the outer TAP refused a superframe, which was then sent as segments; 0:
 * none.
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
