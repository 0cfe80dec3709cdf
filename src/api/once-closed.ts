/**
 * Detects the end of a streamed response, whichever side ends it.
 *
 * When a connection closes, Node emits `close` only for the response that is being sent. No other
 * response of the connection has begun, because the responses of a connection run one after another
 * (`connections.ts`).
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
