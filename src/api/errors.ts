/**
 * Errors of the API: problem details (RFC 9457) from one table of stable codes. Whatever goes wrong, in a route,
 * in a body, in the data plane or in HTTP itself, is answered in this one form.
 */
import type { FastifyError } from 'fastify';
import { ConfigError, ValueError } from '../config/config-error.js';
import { DataPlaneError } from '../exchange/data-plane.js';

export const PROBLEM_TYPE = 'application/problem+json';

/** code → [HTTP status, title]. A code never changes its meaning; sentences may. */
export const PROBLEMS = {
  bad_request: [400, 'The request is not understood'],
  peer_unresolved: [400, 'The peer name has no address'],
  unauthorized: [401, 'The request shows no valid token'],
  forbidden_host: [403, 'The Host header names another machine'],
  forbidden_origin: [403, 'A web page of another origin sent the request'],
  not_found: [404, 'There is nothing at this path'],
  vni_not_found: [404, 'The VNI is not configured'],
  peer_not_found: [404, 'The peer is not configured'],
  fdb_entry_not_found: [404, 'There is no such FDB entry'],
  method_not_allowed: [405, 'The method does not apply here'],
  request_timeout: [408, 'The request did not arrive in time'],
  vni_exists: [409, 'The VNI is configured already'],
  peer_exists: [409, 'The peer is configured already'],
  peer_of_name: [409, 'The address belongs to a peer that was given by name'],
  fdb_full: [409, 'The FDB has no room left'],
  table_full: [409, 'There is no room for one more'],
  capture_busy: [409, 'A capture is running already'],
  config_invalid: [409, 'The configuration cannot be used; what held before still holds'],
  precondition_failed: [412, 'It has changed since it was looked at'],
  payload_too_large: [413, 'The body is too large'],
  uri_too_long: [414, 'The path is too long'],
  unsupported_media_type: [415, 'The body is not JSON'],
  headers_too_large: [431, 'The header fields are too large'],
  internal: [500, 'vtepd made a mistake'],
  host_refused: [500, 'The machine refused'],
  overloaded: [503, 'Too many requests wait for an answer'],
  too_many_streams: [503, 'Too many clients listen to events'],
  not_ready: [503, 'The data plane is not ready'],
  dataplane_timeout: [503, 'The data plane did not answer in time'],
  dataplane_down: [503, 'The data plane is not running'],
} as const satisfies Record<string, readonly [number, string]>;

/** Seconds after which a client that was refused with `overloaded` may try again. */
export const RETRY_AFTER_S = 5;

export type ProblemCode = keyof typeof PROBLEMS;

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ProblemCode;
}

/** An answer that is no success. `detail` is one line: what, which value, what would do. */
export class ApiError extends Error {
  readonly code: ProblemCode;
  readonly status: number;

  /** @param status where the same code has another one: 409 for a peer that a body names and nobody configured */
  constructor(code: ProblemCode, detail: string, status: number = PROBLEMS[code][0]) {
    super(detail);
    this.code = code;
    this.status = status;
  }
}

export function problem(code: ProblemCode, detail: string, status: number = PROBLEMS[code][0]): Problem {
  return { type: `urn:vtepd:problem:${code}`, title: PROBLEMS[code][1], status, detail, code };
}

/** Any error as a problem. An unforeseen one says nothing of its inside: that belongs into the log. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ApiError) return problem(error.code, error.message, error.status);
  if (error instanceof DataPlaneError) return problem(error.code, error.message);
  if (error instanceof ValueError || error instanceof ConfigError)
    return problem('bad_request', error.message);
  const named = ERROR_NAMES[(error as Error).name];
  if (named !== undefined) return problem(named, (error as Error).message);
  const { validation, statusCode, message } = error as Partial<FastifyError>;
  if (validation) return problem('bad_request', validationSentence(error as FastifyError));
  const code = HTTP_CODES[statusCode ?? 500];
  if (code !== undefined) return problem(code, HTTP_DETAILS[code] ?? message ?? '');
  return problem('internal', 'unforeseen error; the log of vtepd says more');
}

/** Errors of layers that are not ours to import, all with a message for people. */
const ERROR_NAMES: Readonly<Record<string, ProblemCode | undefined>> = {
  HostError: 'host_refused',
  StateError: 'host_refused',
  ResolveError: 'peer_unresolved',
};

/** What fastify itself refuses with. */
const HTTP_CODES: Record<number, ProblemCode | undefined> = {
  400: 'bad_request',
  413: 'payload_too_large',
  414: 'uri_too_long',
  415: 'unsupported_media_type',
};

const HTTP_DETAILS: Partial<Record<ProblemCode, string>> = {
  payload_too_large: 'the body may have at most 65536 bytes',
  uri_too_long: 'a part of the path is longer than anything that has a name here',
  unsupported_media_type: 'send the body with "Content-Type: application/json"',
};

/** The first thing that the schema refused: where, the value, what is allowed. */
function validationSentence({ validation, validationContext }: FastifyError): string {
  const [first] = validation!;
  const params = first.params as Record<string, unknown>;
  const part = validationContext === 'querystring' ? 'query' : (validationContext ?? 'request');
  const place = `${part}${first.instancePath.replaceAll('/', '.')}`;
  const value = (first as { data?: unknown }).data;
  switch (first.keyword) {
    case 'additionalProperties':
      return `${place}: "${params.additionalProperty}" is not known here`;
    case 'required':
      return `${place}: "${params.missingProperty}" is required`;
    default:
      return `${place} ${JSON.stringify(value) ?? 'nothing'}: ${first.message ?? 'is not allowed'}`;
  }
}
