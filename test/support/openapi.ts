/**
 * An API client that knows the API from its OpenAPI document alone.
 *
 * It makes every documented call with the document's examples, and checks each answer against the
 * document.
 */
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Test } from 'tap';
import { type Dispatcher, request } from 'undici';

/** Order of the calls, which remove the VNI of the examples and add it again. */
const ORDER = [
  'getDescription',
  'getHealth',
  'getReadiness',
  'getMetrics',
  'getStatus',
  'getCounters',
  'getDoctor',
  'removeVni',
  'addVni',
  'listVnis',
  'getVni',
  'changeVni',
  'addPeer',
  'listPeers',
  'getPeer',
  'probePeer',
  'putFdbEntry',
  'listFdb',
  'deleteFdbEntry',
  'flushFdb',
  'removePeer',
  'reload',
  'streamEvents',
  'capture',
];

export interface OpenApi {
  readonly paths: Record<string, Record<string, Operation>>;
}

interface Schema {
  readonly examples?: readonly unknown[];
  readonly properties?: Record<string, Schema>;
  readonly required?: readonly string[];
}

interface Content {
  readonly schema: Schema;
  readonly example?: unknown;
}

interface Parameter {
  readonly in: string;
  readonly name: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly example?: unknown;
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Record<string, Content> };
  readonly responses: Record<
    string,
    { readonly description: string; readonly content?: Record<string, Content> }
  >;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: unknown;
}

/**
 * @param origin origin of the API
 * @param dispatcher connection to the API
 * @param instead expected statuses other than success, indexed by operation id
 */
export async function tryEveryCall(
  t: Test,
  origin: string,
  dispatcher: Dispatcher,
  instead: Readonly<Record<string, number>> = {},
): Promise<void> {
  const answer = await request(`${origin}/openapi.json`, { dispatcher });
  const document = (await answer.body.json()) as OpenApi;
  const calls = operationsOf(document);
  t.same(new Set(calls.keys()), new Set(ORDER), 'the document has exactly the calls of this client');
  for (const id of ORDER) {
    const call = calls.get(id);
    if (call === undefined) continue;
    const answered = await make(call, origin, dispatcher);
    const expected = instead[id];
    t.ok(
      expected === undefined ? answered.status < 300 : answered.status === expected,
      `${id}: ${JSON.stringify(answered).slice(0, 300)}`,
    );
    assertDocumented(t, id, call.operation, answered);
  }
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

export function operationsOf({ paths }: OpenApi): Map<string, Call> {
  const calls = new Map<string, Call>();
  for (const [path, methods] of Object.entries(paths))
    for (const [method, operation] of Object.entries(methods))
      calls.set(operation.operationId, { method: method.toUpperCase(), path, operation });
  return calls;
}

/**
 * Makes a call. Path and required query parameters have the values of their examples. The body is
 * the example of its schema, or consists of the examples of its required fields.
 */
async function make(
  { method, path, operation }: Call,
  origin: string,
  dispatcher: Dispatcher,
): Promise<Answer> {
  const { parameters = [], requestBody } = operation;
  const url = new URL(
    path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(String(example(name)))),
    origin,
  );
  for (const { in: place, name, required } of parameters)
    if (place === 'query' && required) url.searchParams.set(name, String(example(name)));
  const content = requestBody?.content['application/json'];
  const body = content && {
    body: JSON.stringify(content.example ?? bodyOf(content.schema)),
    headers: { 'content-type': 'application/json' },
  };
  const options = { method: method as Dispatcher.HttpMethod, dispatcher, ...body };
  return readAnswer(await request(url, options));

  function example(name: string): unknown {
    return parameters.find((parameter) => parameter.name === name)?.example;
  }
}

/** Reads an answer; streams without an end are closed at once. */
async function readAnswer({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<Answer> {
  const [type] = String(headers['content-type'] ?? '').split(';');
  const answer = { status: statusCode, type };
  if (type.includes('json')) return { ...answer, body: await body.json() };
  if (type === 'text/event-stream' || type.includes('pcap')) {
    body.on('error', () => {}).destroy();
    return { ...answer, body: '' };
  }
  return { ...answer, body: await body.text() };
}

function bodyOf({ examples, properties = {}, required = [] }: Schema): unknown {
  if (examples !== undefined) return examples[0];
  return Object.fromEntries(required.map((name) => [name, bodyOf(properties[name])]));
}

function assertDocumented(t: Test, id: string, operation: Operation, { status, type, body }: Answer): void {
  const documented = operation.responses[status];
  t.ok(documented, `${id}: ${status} is documented`);
  if (documented?.content === undefined) return void t.equal(body, '', `${id}: the answer has no body`);
  const content = documented.content[type];
  t.ok(content, `${id}: ${type} is documented`);
  if (content === undefined) return;
  const valid = new Ajv2020({ strict: false, validateFormats: false }).compile(content.schema);
  t.ok(valid(body), `${id}: the answer matches the documented schema`, { found: valid.errors });
}
