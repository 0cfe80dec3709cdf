/**
 * Detects the end of a streamed response, by its client or by this side.
 *
 * Responses on one connection run one after another (`connections.ts`), so each response gets its
 * own `close` event when the connection closes.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';

/**
 * @param closed called once, when the response has ended for any reason or the connection has
 * closed
 */
export function onceClosed(
  { raw: { socket } }: FastifyRequest,
  { raw }: FastifyReply,
  closed: () => void,
): void {
  if (socket.destroyed || raw.destroyed) closed();
  else raw.once('close', closed);
}
