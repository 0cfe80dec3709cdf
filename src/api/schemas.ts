/**
 * JSON schemas of what the API takes and answers. Responses are serialised by them, so a field that is not here
 * is not sent. Values in paths, queries and bodies are judged by the parsers of `config/values.ts`, whose sentences name
 * the value and what is allowed; the schemas say no more than which JSON types they come in.
 */
import { type Key, SETTINGS, VNI_KEYS } from '../config/schema.js';
import { parseSwitch } from '../config/values.js';
import type { ProblemCode } from './errors.js';

const count = { type: 'number' } as const;
const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const nullableText = { type: ['string', 'null'] } as const;
const nullableCount = { type: ['number', 'null'] } as const;

const traffic = object({ frames: count, bytes: count });
const reasons = { type: 'object', additionalProperties: count } as const;
const drops = object({ encap: reasons, decap: reasons });

/** @param codes that can occur there */
export function problemSchema(codes: readonly ProblemCode[]) {
  const code = { type: 'string', enum: codes } as const;
  return object({ type: text, title: text, status: count, detail: text, code });
}

export const healthSchema = object({ status: text });

const vni = textParam('the VNI, 0 to 16777215', '100');
const mac = textParam('MAC address, such as 02:00:5e:10:00:01', '02:00:5e:10:00:01');
const address = textParam('the peer: its address, or the name it was given by', '192.0.2.11');

export const vniParams = object({ vni });
export const peerParams = object({ vni, address });
export const macParams = object({ vni, mac });

const limit = textParam('most items of the page, 1 to 1000; 1000 unless given', '100');
const cursor = textParam('nextCursor of the page before');
const fdbType = textParam('static, dynamic or all', 'dynamic');
const fdbPeer = textParam(
  'entries behind this peer alone: its address, or all addresses of the name it was given by',
);

export const pageQuery = strict({ limit, cursor });
export const fdbQuery = strict({ type: fdbType, peer: fdbPeer, limit, cursor });
export const flushQuery = strict({ type: fdbType, peer: fdbPeer }, ['type']);
export const noQuery = strict({});

export const eventsQuery = strict({
  type: textParam('these types alone, separated by commas', 'peer,vni'),
  vni: textParam('what happens in this VNI alone', '100'),
});

export const captureQuery = strict({
  vni: textParam('packets of this VNI alone', '100'),
  point: textParam(
    'overlay: Ethernet frames of the TAP; underlay: VXLAN datagrams. overlay unless given',
    'overlay',
  ),
  snaplen: textParam('most bytes of a packet, 1 to 262144; 262144 unless given', '128'),
  limit: textParam('ends after this many packets', '1'),
});

/** Headers of a call that changes what was looked at before. */
export const ifMatch = {
  type: 'object',
  properties: { 'if-match': textParam('ETag of what was seen; changed since then: 412 precondition_failed') },
} as const;

export const ifNoneMatch = {
  type: 'object',
  properties: { 'if-none-match': textParam('ETag of what is known; not changed: 304') },
} as const;

const HOST = { type: 'string', minLength: 1, maxLength: 253 } as const;
const PEER_FIELDS = {
  port: { type: ['integer', 'string'], description: 'UDP port; that of --port unless given' },
  flood: { type: ['boolean', 'string'], description: 'BUM frames are copied to it; on unless given' },
} as const;

export const peerBody = strict(
  {
    address: { ...HOST, description: 'address or DNS name of the remote VTEP', examples: ['192.0.2.11'] },
    ...PEER_FIELDS,
  },
  ['address'],
);

export const fdbBody = strict(
  { peer: { ...HOST, description: 'a configured peer', examples: ['192.0.2.11'] } },
  ['peer'],
);

/** Settings that JSON may give as numbers. */
const NUMBERS: readonly Key[] = ['mtu', 'ageing', 'fdbLimit'];

/** Settings of a VNI, by their names in the file. */
const VNI_FIELDS = Object.fromEntries(VNI_KEYS.map((key) => [key, settingSchema(key)]));

export const vniBody = strict(
  {
    vni: { type: ['integer', 'string'], description: 'the VNI, 0 to 16777215', examples: [100] },
    ...VNI_FIELDS,
    peers: {
      type: ['array', 'null'],
      description: 'peers: each a text as --peer takes it, or an object',
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
      'settling: a change failed before all data-plane threads had answered; until they agree, the number and the TAP stay taken',
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
  warnings: { type: 'array', items: object({ code: text, detail: text }) },
});

export const peerSchema = object({
  address: text,
  port: count,
  flood: flag,
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

export const findingSchema = object({ code: text, what: text, why: text, cure: text });

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
  hasFile: { ...flag, description: 'false: vtepd runs without --config, and nothing was read' },
});

/** `{items, nextCursor}`; a null cursor: this was the last page. */
export function listOf(items: object) {
  return object({ items: { type: 'array', items }, nextCursor: nullableText });
}

/** All fields are there. */
function object<P extends Record<string, unknown>>(properties: P) {
  return { type: 'object', properties, required: Object.keys(properties) } as const;
}

/** Input: nothing that is not listed, and only `required` must be there. */
function strict<P extends Record<string, unknown>>(properties: P, required: readonly string[] = []) {
  return { type: 'object', properties, required, additionalProperties: false } as const;
}

/** Text of a path, a query or a header. */
function textParam(description: string, example?: string) {
  return { type: 'string', description, ...(example !== undefined && { examples: [example] }) } as const;
}

/** Of a setting in a body: the word of the file, or what JSON has for it; null: the default. */
function settingSchema(key: Key) {
  const { help, repeatable, standard, standardHelp } = SETTINGS[key];
  return {
    type: [...nativeTypes(key), 'string', 'null'],
    description: `${help}. Default: ${standard || standardHelp || 'none'}`,
    ...(repeatable && { items: text }),
  };
}

function nativeTypes(key: Key): string[] {
  const { parse, repeatable } = SETTINGS[key];
  if (repeatable) return ['array'];
  if ((parse as unknown) === parseSwitch) return ['boolean'];
  return NUMBERS.includes(key) ? ['integer'] : [];
}
