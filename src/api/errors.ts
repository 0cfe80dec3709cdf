/**
 * API errors: problem details (RFC 9457) from one table of stable codes.
 *
 * Errors of routes, bodies, the data plane and HTTP itself are all answered in this form.
 */
import type { FastifyError } from 'fastify';
import { ConfigError, ValueError } from '../config/config-error.js';
import { DataPlaneError } from '../exchange/data-plane.js';
import type { NotReadyReason } from '../exchange/report.js';

export const PROBLEM_TYPE = 'application/problem+json';

/** Code → [HTTP status, title]. The meaning of a code never changes; its title may. */
export const PROBLEMS = {
  bad_request: [400, 'The request is invalid'],
  peer_unresolved: [400, 'The peer name does not resolve to an address'],
  unauthorized: [401, 'The request has no valid token'],
  forbidden_host: [403, 'The Host header is neither an address nor localhost'],
  forbidden_origin: [403, 'A web page of another origin sent the request'],
  not_found: [404, 'The path does not exist'],
  vni_not_found: [404, 'The VNI is not configured'],
  peer_not_found: [404, 'The peer is not configured'],
  fdb_entry_not_found: [404, 'The FDB entry does not exist'],
  method_not_allowed: [405, 'The path does not support this method'],
  request_timeout: [408, 'The request did not arrive in time'],
  vni_exists: [409, 'The VNI is configured already'],
  peer_exists: [409, 'The peer is configured already'],
  peer_of_name: [409, 'The address belongs to a peer that is configured by name'],
  fdb_full: [409, 'The FDB has no room for another static entry'],
  table_full: [409, 'The table of VNIs or peers is full'],
  capture_busy: [409, 'A capture is running already'],
  config_invalid: [409, 'The configuration is invalid; the previous one stays in effect'],
  precondition_failed: [412, 'The resource has changed since it was read'],
  payload_too_large: [413, 'The body is too large'],
  uri_too_long: [414, 'The path is too long'],
  unsupported_media_type: [415, 'The body is not JSON'],
  headers_too_large: [431, 'The header fields are too large'],
  internal: [500, 'Internal error in vtepd'],
  host_refused: [500, 'The operating system refused an operation'],
  overloaded: [503, 'Too many requests of this kind are waiting'],
  too_many_streams: [503, 'Too many clients are subscribed to events'],
  not_ready: [503, 'The VTEP is not ready'],
  dataplane_timeout: [503, 'The data plane did not answer in time'],
  dataplane_down: [503, 'The data plane is not running'],
} as const satisfies Record<string, readonly [number, string]>;

/** `Retry-After` of `overloaded`, seconds. */
export const RETRY_AFTER_S = 5;

export type ProblemCode = keyof typeof PROBLEMS;

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ProblemCode;
  /** All reasons of `not_ready`; absent for all other codes. */
  readonly reasons?: readonly NotReadyReason[];
}

/**
 * An error response. `detail` is one line: what is wrong, with which value, and what is allowed.
 */
export class ApiError extends Error {
  readonly code: ProblemCode;
  readonly status: number;

  /**
   * @param status HTTP status if it differs from that of the table, such as 409 for a body that
   * names an unconfigured peer
   */
  constructor(code: ProblemCode, detail: string, status: number = PROBLEMS[code][0]) {
    super(detail);
    this.code = code;
    this.status = status;
  }
}

/** Error `not_ready`: its detail is the first of the reasons. */
export class NotReadyError extends ApiError {
  readonly reasons: readonly NotReadyReason[];

  /** @param reasons not empty */
  constructor(reasons: readonly NotReadyReason[]) {
    const [{ code, detail }] = reasons;
    super('not_ready', `${code}: ${detail}`);
    this.reasons = reasons;
  }
}

export function problem(code: ProblemCode, detail: string, status: number = PROBLEMS[code][0]): Problem {
  return { type: `urn:vtepd:problem:${code}`, title: PROBLEMS[code][1], status, detail, code };
}

/** Converts any error to a problem. The details of unexpected errors appear only in the log. */
export function problemOf(error: unknown): Problem {
  if (error instanceof NotReadyError)
    return { ...problem(error.code, error.message), reasons: error.reasons };
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
  return problem('internal', 'unexpected error; see the log of vtepd');
}

/**
 * Codes of error classes that this folder must not import, indexed by class name. The messages of
 * these errors are meant for users.
 */
const ERROR_NAMES: Readonly<Record<string, ProblemCode | undefined>> = {
  HostError: 'host_refused',
  StateError: 'host_refused',
  ResolveError: 'peer_unresolved',
};

/** Codes of errors that Fastify raises itself, indexed by HTTP status. */
const HTTP_CODES: Record<number, ProblemCode | undefined> = {
  400: 'bad_request',
  413: 'payload_too_large',
  414: 'uri_too_long',
  415: 'unsupported_media_type',
};

const HTTP_DETAILS: Partial<Record<ProblemCode, string>> = {
  payload_too_large: 'the body exceeds 65536 bytes',
  uri_too_long: 'a path segment exceeds 512 characters',
  unsupported_media_type: 'send the body with "Content-Type: application/json"',
};

/** Describes the first schema violation: field, value, and what is allowed. */
function validationSentence({ validation, validationContext }: FastifyError): string {
  const [first] = validation!;
  const params = first.params as Record<string, unknown>;
  const part = validationContext === 'querystring' ? 'query' : (validationContext ?? 'request');
  const place = `${part}${first.instancePath.replaceAll('/', '.')}`;
  const value = (first as { data?: unknown }).data;
  switch (first.keyword) {
    case 'additionalProperties':
      return `${place}: unknown field "${params.additionalProperty}"`;
    case 'required':
      return `${place}: "${params.missingProperty}" is required`;
    default:
      return `${place} ${JSON.stringify(value) ?? 'nothing'}: ${first.message ?? 'is not allowed'}`;
  }
}
