/**
 * What a route may answer, as schemas: its success, and every problem that can come instead, by status and code. The
 * description of the API (`/openapi.json`) is made from these.
 */
import { PROBLEM_TYPE, PROBLEMS, type ProblemCode, RETRY_AFTER_S } from './errors.js';
import { problemSchema } from './schemas.js';

/** Of any call. */
const OF_ALL: readonly ProblemCode[] = [
  'bad_request',
  'forbidden_host',
  'forbidden_origin',
  'request_timeout',
  'uri_too_long',
  'headers_too_large',
  'internal',
];
/** Of a call with a body. */
export const OF_BODIES: readonly ProblemCode[] = ['payload_too_large', 'unsupported_media_type'];
/** Of whatever the data plane has to do. */
export const OF_DATA_PLANE: readonly ProblemCode[] = ['dataplane_timeout', 'dataplane_down'];
/** Of whatever is changed and kept. */
export const OF_CHANGES: readonly ProblemCode[] = ['host_refused', ...OF_DATA_PLANE];

const RETRY_AFTER_TEXT = `seconds, with \`overloaded\`: ${RETRY_AFTER_S}`;

type Answers = Record<number, object>;

/** @param successes schema of each status @param codes beside those of any call; all at the status of their table */
export function answers(successes: Answers, codes: readonly ProblemCode[] = []): Answers {
  const all = { ...successes };
  for (const [status, theirs] of byStatus([...OF_ALL, ...codes])) all[status] = problems(theirs);
  return all;
}

/** The same, for a call that needs the token where there is one. */
export function guardedAnswers(successes: Answers, codes: readonly ProblemCode[] = []): Answers {
  return answers(successes, ['unauthorized', ...codes]);
}

/** One schema under a media type. @param headers names and what they say */
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

/** Nothing but a status. */
export function nothing(description: string): object {
  return { type: 'null', description };
}

/** Problems of one status. */
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
