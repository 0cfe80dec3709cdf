/**
 * JSON schemas of the API's requests and responses.
 *
 * Responses are serialised by these schemas, so a field that is missing here is not sent. Values in
 * paths, queries and bodies are validated by the parsers of `config/values.ts`, whose messages name
 * the value and what is allowed; the schemas give only the JSON types.
 */
import { type Key, SETTINGS, VNI_KEYS } from '../config/schema.js';
import { parseSwitch } from '../config/values.js';
import { codesOf, type ReportProperties } from '../exchange/report.js';
import type { ProblemCode } from './errors.js';

const count = { type: 'number' } as const;
const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const nullableText = { type: ['string', 'null'] } as const;
const nullableCount = { type: ['number', 'null'] } as const;

const traffic = object({ frames: count, bytes: count });
const reasons = { type: 'object', additionalProperties: count } as const;
const drops = object({ encap: reasons, decap: reasons });

/** @param codes codes that can occur */
export function problemSchema(codes: readonly ProblemCode[]) {
  const code = { type: 'string', enum: codes } as const;
  const schema = object({ type: text, title: text, status: count, detail: text, code });
  if (!codes.includes('not_ready')) return schema;
  return { ...schema, properties: { ...schema.properties, reasons: notReadyReasons } };
}

const notReadyReasons = {
  type: 'array',
  items: object({ code: text, detail: text }),
  description: 'sent with `not_ready`: all reasons; `detail` has the first',
} as const;

export const healthSchema = object({ status: text });

const vni = textParam('VXLAN network identifier, 0 to 16777215', '100');
const mac = textParam('MAC address, such as 02:00:5e:10:00:01', '02:00:5e:10:00:01');
const address = textParam('address of the peer, or the name it was configured by', '192.0.2.11');

export const vniParams = object({ vni });
export const peerParams = object({ vni, address });
export const macParams = object({ vni, mac });

const limit = textParam('maximum number of items, 1 to 1000; default 1000', '100');
const cursor = textParam('nextCursor of the previous page');
const fdbType = textParam('type of entries: static, dynamic or all', 'dynamic');
const fdbPeer = textParam(
  'only entries of this peer: an address, or a configured name, which stands for all its addresses',
);

export const pageQuery = strict({ limit, cursor });
export const fdbQuery = strict({ type: fdbType, peer: fdbPeer, limit, cursor });
export const flushQuery = strict({ type: fdbType, peer: fdbPeer }, ['type']);
export const noQuery = strict({});

export const eventsQuery = strict({
  type: textParam('only events of these types, separated by commas', 'peer,vni'),
  vni: textParam('only events of this VNI', '100'),
});

export const captureQuery = strict({
  vni: textParam('only packets of this VNI', '100'),
  point: textParam(
    'capture point. overlay: Ethernet frames of the TAP; underlay: VXLAN datagrams. Default: overlay',
    'overlay',
  ),
  snaplen: textParam('maximum bytes captured per packet, 1 to 262144; default 262144', '128'),
  limit: textParam('number of packets after which the capture ends; default: unlimited', '1'),
});

/** Headers of a request that changes a resource read before. */
export const ifMatch = {
  type: 'object',
  properties: {
    'if-match': textParam(
      'ETag of the resource as last read; if the resource has changed, the answer is 412 precondition_failed',
    ),
  },
} as const;

export const ifNoneMatch = {
  type: 'object',
  properties: {
    'if-none-match': textParam(
      'ETag of the resource as last read; if the resource is unchanged, the answer is 304',
    ),
  },
} as const;

const HOST = { type: 'string', minLength: 1, maxLength: 253 } as const;
const PEER_FIELDS = {
  port: { type: ['integer', 'string'], description: 'UDP port; default: that of --port' },
  flood: {
    type: ['boolean', 'string'],
    description: 'send broadcast, unknown unicast and multicast frames to this peer; default: on',
  },
  all: {
    type: ['boolean', 'string'],
    description: 'on: the name stands for many hosts, each address is a peer; default: off, one address',
  },
} as const;

export const peerBody = strict(
  {
    address: { ...HOST, description: 'address or DNS name of the remote VTEP', examples: ['192.0.2.11'] },
    ...PEER_FIELDS,
  },
  ['address'],
);

export const fdbBody = strict(
  { peer: { ...HOST, description: 'a configured peer, by address or name', examples: ['192.0.2.11'] } },
  ['peer'],
);

/** Settings whose JSON value may be a number. */
const NUMBERS: readonly Key[] = ['mtu', 'ageing', 'fdbLimit'];

/** Settings of a VNI, by their keys in the configuration file. */
const VNI_FIELDS = Object.fromEntries(VNI_KEYS.map((key) => [key, settingSchema(key)]));

export const vniBody = strict(
  {
    vni: {
      type: ['integer', 'string'],
      description: 'VXLAN network identifier, 0 to 16777215',
      examples: [100],
    },
    ...VNI_FIELDS,
    peers: {
      type: ['array', 'null'],
      description: 'peers: each a string in the form of --peer, or an object',
      items: { anyOf: [text, peerBody] },
    },
  },
  ['vni'],
);

export const vniChanges = { ...strict(VNI_FIELDS), minProperties: 1, examples: [{ ageing: 60 }] } as const;

export const vniSchema = object({
  vni: count,
  state: {
    type: 'string',
    enum: ['up', 'settling'],
    description:
      'up: in use; settling: a change failed before all data-plane threads had applied it; until they agree, VNI and TAP cannot be used again',
  },
  tap: text,
  bridge: nullableText,
  address: { type: 'array', items: text },
  mac: text,
  mtu: { type: ['number', 'string'] },
  overlayMtu: count,
  learning: flag,
  ageing: count,
  fdbLimit: count,
  flood: flag,
  accept: text,
  vlan: text,
  peers: count,
  fdb: object({ static: count, dynamic: count }),
});

export const statusSchema = object({
  version: text,
  startedAt: text,
  uptimeS: count,
  ready: flag,
  underlay: object({
    local: { type: 'array', items: text },
    device: nullableText,
    port: count,
    io: text,
    offloads: { type: 'array', items: text },
  }),
  vnis: { type: 'array', items: vniSchema },
  warnings: reports('warning', 'faults that should be corrected'),
  notices: reports('notice', 'conditions that have a good reason'),
});

export const peerSchema = object({
  address: text,
  port: count,
  flood: flag,
  all: flag,
  resolved: nullableText,
  lastSeen: nullableText,
  pathMtu: nullableCount,
  tx: traffic,
  rx: traffic,
});

export const probeSchema = object({
  peer: text,
  good: flag,
  summary: text,
  means: nullableText,
  pathMtu: nullableCount,
  exact: flag,
  routeMtu: nullableCount,
  fits: nullableCount,
  overlayMtu: count,
  tapMtu: count,
  probes: count,
  failed: { type: 'array', items: object({ means: text, why: text }) },
});

const finding = object({ code: text, what: text, why: text, cure: text });

export const findingSchema = {
  ...finding,
  properties: {
    ...finding.properties,
    notice: { ...flag, description: 'true: worth knowing, but no problem; absent for problems' },
  },
} as const;

export const fdbEntrySchema = object({ mac: text, peer: text, type: text, ageMs: count });

export const flushedSchema = object({ removed: count });

export const countersSchema = object({
  vnis: {
    type: 'array',
    items: object({
      vni: count,
      overlayMtu: count,
      tap: object({ rx: traffic, tx: traffic, queueDropped: count }),
      flooded: object({ broadcast: count, multicast: count, unknownUnicast: count }),
      replicated: count,
      fragments: count,
      tooBig: object({ icmp: count, fragment: count, drop: count }),
      mssClamped: count,
      drops,
      fdb: object({
        static: count,
        dynamic: count,
        learned: count,
        moved: count,
        aged: count,
        evicted: count,
      }),
      peers: {
        type: 'array',
        items: object({
          address: text,
          lastSeen: nullableText,
          pathMtu: nullableCount,
          tx: traffic,
          rx: traffic,
        }),
      },
      others: object({ tx: traffic, rx: traffic }),
    }),
  },
  drops,
  reservedBits: count,
  busyRatio: count,
  names: {
    type: 'array',
    items: object({
      name: text,
      addresses: { type: 'array', items: text },
      failures: count,
      lastSuccess: nullableText,
      error: text,
    }),
  },
});

export const reloadSchema = object({
  changed: { type: 'array', items: text },
  needsRestart: { type: 'array', items: text },
  hasFile: { ...flag, description: 'false: vtepd runs without --config, so no file was read' },
});

/** Schema of `{items, nextCursor}`; nextCursor is null on the last page. */
export function listOf(items: object) {
  return object({ items: { type: 'array', items }, nextCursor: nullableText });
}

/** Schema of the warnings or notices of the status. */
function reports(kind: ReportProperties['kind'], description: string) {
  const code = { type: 'string', enum: codesOf(kind) } as const;
  return { type: 'array', items: object({ code, detail: text, why: text, cure: text }), description };
}

/** Schema of a response: all fields are present. */
function object<P extends Record<string, unknown>>(properties: P) {
  return { type: 'object', properties, required: Object.keys(properties) } as const;
}

/** Schema of input: unknown fields are rejected, only `required` fields must be present. */
function strict<P extends Record<string, unknown>>(properties: P, required: readonly string[] = []) {
  return { type: 'object', properties, required, additionalProperties: false } as const;
}

/** Schema of a string in a path, a query or a header. */
function textParam(description: string, example?: string) {
  return { type: 'string', description, ...(example !== undefined && { examples: [example] }) } as const;
}

/**
 * Schema of a setting in a body: a string as in the file, or a value of the setting's JSON type;
 * null selects the default.
 */
function settingSchema(key: Key) {
  const { help, repeatable, defaultText, defaultHelp } = SETTINGS[key];
  return {
    type: [...nativeTypes(key), 'string', 'null'],
    description: `${help}. Default: ${defaultText || defaultHelp || 'none'}`,
    ...(repeatable && { items: text }),
  };
}

function nativeTypes(key: Key): string[] {
  const { parse, repeatable } = SETTINGS[key];
  if (repeatable) return ['array'];
  if ((parse as unknown) === parseSwitch) return ['boolean'];
  return NUMBERS.includes(key) ? ['integer'] : [];
}
