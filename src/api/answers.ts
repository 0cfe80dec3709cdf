/**
 * Response schemas of routes: success, and all problems by status and code.
 *
 * The OpenAPI description (`/openapi.json`) is generated from these.
 */
import { PROBLEM_TYPE, PROBLEMS, type ProblemCode, RETRY_AFTER_S } from './errors.js';
import { problemSchema } from './schemas.js';

/** Problem codes that any call can answer. */
const COMMON_CODES: readonly ProblemCode[] = [
  'bad_request',
  'forbidden_host',
  'forbidden_origin',
  'request_timeout',
  'uri_too_long',
  'headers_too_large',
  'internal',
];
/** Codes of calls with a body. */
export const BODY_CODES: readonly ProblemCode[] = ['payload_too_large', 'unsupported_media_type'];
/** Codes of calls that the data plane carries out. */
export const DATA_PLANE_CODES: readonly ProblemCode[] = ['dataplane_timeout', 'dataplane_down'];
/** Codes of calls that change and persist configuration. */
export const CHANGE_CODES: readonly ProblemCode[] = ['host_refused', ...DATA_PLANE_CODES];

const RETRY_AFTER_TEXT = `seconds to wait before a retry; sent with \`overloaded\`: ${RETRY_AFTER_S}`;

type Answers = Record<number, object>;

/**
 * @param successes schema by status
 * @param codes problem codes in addition to COMMON_CODES; each code is listed at its HTTP status
 */
export function answers(successes: Answers, codes: readonly ProblemCode[] = []): Answers {
  const all = { ...successes };
  for (const [status, theirs] of byStatus([...COMMON_CODES, ...codes])) all[status] = problems(theirs);
  return all;
}

/** Variant of `answers` for a route that requires the token if a token is configured. */
export function guardedAnswers(successes: Answers, codes: readonly ProblemCode[] = []): Answers {
  return answers(successes, ['unauthorized', ...codes]);
}

/**
 * A response with one media type.
 *
 * @param headers descriptions by header name
 */
export function media(
  type: string,
  schema: object,
  description: string,
  headers: Record<string, string> = {},
): object {
  return { description, headers: headerSchemas(headers), content: { [type]: { schema } } };
}

export function json(schema: object, description: string, headers: Record<string, string> = {}): object {
  return media('application/json', schema, description, headers);
}

/** A response without a body. */
export function noBody(description: string): object {
  return { type: 'null', description };
}

/** A problem response with the codes of one status. */
export function problems(codes: readonly ProblemCode[]): object {
  const description = codes.map((code) => `\`${code}\`: ${PROBLEMS[code][1]}`).join('. ');
  const headers = codes.includes('overloaded') ? { 'Retry-After': RETRY_AFTER_TEXT } : {};
  return media(PROBLEM_TYPE, problemSchema(codes), `${description}.`, headers);
}

function headerSchemas(headers: Record<string, string>): Record<string, object> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [name, { type: 'string', description }]),
  );
}

function byStatus(codes: readonly ProblemCode[]): Map<number, ProblemCode[]> {
  const statuses = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const [status] = PROBLEMS[code];
    statuses.set(status, [...(statuses.get(status) ?? []), code]);
  }
  return statuses;
}
