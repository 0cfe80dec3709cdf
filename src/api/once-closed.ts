/**
 * The end of an answer that does not end by itself: its client has gone, or it was ended here. Answers
 * of one connection are begun one after another (`connections.ts`), so each is told when the
 * connection closes.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';

/** @param gone called once: when the answer has ended, however it did, or the connection has */
export function onceClosed(
  { raw: { socket } }: FastifyRequest,
  { raw }: FastifyReply,
  gone: () => void,
): void {
  if (socket.destroyed || raw.destroyed) gone();
  else raw.once('close', gone);
}
