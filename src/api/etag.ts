/**
 * Entity tags (RFC 9110 §8.8.3) of what is configured: two operators who look, think and change do not overwrite each
 * other. A tag is that of the settings. What else an answer shows (counters, ages, path MTUs) changes under the same tag.
 */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from './errors.js';

/** @param settings JSON values; the order of keys does not matter */
export function etagOf(settings: object): string {
  return `"${createHash('sha256').update(canonical(settings)).digest('hex').slice(0, 16)}"`;
}

/** `If-Match`: the caller has seen this. @throws ApiError precondition_failed */
export function refuseStale({ headers }: FastifyRequest, tag: string, what: string): void {
  const wanted = headers['if-match'];
  if (wanted === undefined || tagsOf(wanted).some((given) => given === '*' || given === tag)) return;
  throw new ApiError(
    'precondition_failed',
    `${what} has changed: its tag is ${tag}, not ${wanted}; look at it again, then decide`,
  );
}

/** Answers 304 if the caller has this already (`If-None-Match`), else says which it is. @returns whether it did answer */
export function answersUnchanged({ headers }: FastifyRequest, reply: FastifyReply, tag: string): boolean {
  reply.header('etag', tag);
  const had = headers['if-none-match'];
  if (had === undefined) return false;
  const same = tagsOf(had).some((given) => given === '*' || given.replace(/^W\//, '') === tag);
  if (same) reply.code(304).send();
  return same;
}

function tagsOf(header: string): string[] {
  return header.split(',').map((tag) => tag.trim());
}

/** The same text for the same values. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join()}}`;
}
