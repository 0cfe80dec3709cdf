/**
 * Entity tags (RFC 9110 §8.8.3) of configured resources, against lost updates.
 *
 * A client cannot unknowingly overwrite a change that was made after it read the resource. A tag
 * covers only the settings: it stays the same when counters, ages or path MTUs change.
 */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from './errors.js';

/** @param settings JSON values; the order of keys has no effect */
export function etagOf(settings: object): string {
  return `"${createHash('sha256').update(canonical(settings)).digest('hex').slice(0, 16)}"`;
}

/**
 * Checks `If-Match`.
 *
 * @throws ApiError precondition_failed when no tag of the header equals `tag`
 */
export function refuseStale({ headers }: FastifyRequest, tag: string, what: string): void {
  const expected = headers['if-match'];
  if (expected === undefined || tagsOf(expected).some((given) => given === '*' || given === tag)) return;
  throw new ApiError(
    'precondition_failed',
    `${what} has changed: its ETag is ${tag}, not ${expected}; read it again and repeat the change`,
  );
}

/**
 * Sets the `ETag` header, and answers 304 if `If-None-Match` lists the tag.
 *
 * @returns true when 304 was sent
 */
export function answersUnchanged({ headers }: FastifyRequest, reply: FastifyReply, tag: string): boolean {
  reply.header('etag', tag);
  const known = headers['if-none-match'];
  if (known === undefined) return false;
  const same = tagsOf(known).some((given) => given === '*' || given.replace(/^W\//, '') === tag);
  if (same) reply.code(304).send();
  return same;
}

function tagsOf(header: string): string[] {
  return header.split(',').map((tag) => tag.trim());
}

/** JSON text with sorted keys: equal values give equal text. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join()}}`;
}
