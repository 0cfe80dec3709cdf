/**
 * When the client of an answer that does not end has gone. An answer that waits behind another one on its connection
 * (pipelining, RFC 9112 §9.3.2) is never told that the connection closed, so the connection itself is listened to as well.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';

/** @param gone called once: when the answer has ended, however it did, or the connection has */
export function onceGone({ raw: { socket } }: FastifyRequest, { raw }: FastifyReply, gone: () => void): void {
  if (socket.destroyed || raw.destroyed) {
    gone();
    return;
  }
  let isGone = false;
  const end = () => {
    // Taken off while the connection tells its listeners, it is told all the same.
    if (isGone) return;
    isGone = true;
    socket.off('close', end);
    raw.off('close', end);
    socket.setMaxListeners(socket.getMaxListeners() - 1);
    gone();
  };
  // One listener more for each of them is no leak.
  socket.setMaxListeners(socket.getMaxListeners() + 1);
  socket.once('close', end);
  raw.once('close', end);
}
