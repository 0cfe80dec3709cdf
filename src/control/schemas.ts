/**
 * JSON schemas of what the API takes and answers. Responses are serialised by them, so a field that is not here
 * is not sent. Values in paths and queries are plain text here and are judged by the parsers of `config/values.ts`,
 * whose sentences name the value and what is allowed.
 */

const count = { type: 'number' } as const;
const text = { type: 'string' } as const;
const nullableText = { type: 'string', nullable: true } as const;
const nullableCount = { type: 'number', nullable: true } as const;

const traffic = object({ frames: count, bytes: count });
const reasons = { type: 'object', additionalProperties: count } as const;
const drops = object({ encap: reasons, decap: reasons });

export const problemSchema = object({ type: text, title: text, status: count, detail: text, code: text });

/** What every route may answer with beside its own. */
export const problems = { '4xx': problemSchema, '5xx': problemSchema } as const;

/** 204: nothing. */
export const empty = { type: 'null' } as const;

export const healthSchema = object({ status: text });

export const vniParams = object({ vni: text });
export const peerParams = object({ vni: text, address: text });
export const macParams = object({ vni: text, mac: text });

export const fdbQuery = strict({ type: text, peer: text, limit: text, cursor: text });
export const flushQuery = strict({ type: text, peer: text }, ['type']);
export const noQuery = strict({});

export const peerBody = strict(
  {
    address: { type: 'string', minLength: 1, maxLength: 253 },
    port: { type: 'integer', minimum: 1, maximum: 65535 },
    flood: { type: 'boolean' },
  },
  ['address'],
);

export const fdbBody = strict({ peer: { type: 'string', minLength: 1, maxLength: 253 } }, ['peer']);

export const vniSchema = object({
  vni: count,
  tap: text,
  bridge: nullableText,
  mac: text,
  overlayMtu: count,
  learning: { type: 'boolean' },
  ageing: count,
  fdbLimit: count,
  flood: { type: 'boolean' },
  accept: text,
  vlan: text,
  peers: count,
  fdb: object({ static: count, dynamic: count }),
});

export const statusSchema = object({
  version: text,
  startedAt: text,
  uptimeS: count,
  ready: { type: 'boolean' },
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
  flood: { type: 'boolean' },
  resolved: text,
  lastSeen: nullableText,
  pathMtu: nullableCount,
  tx: traffic,
  rx: traffic,
});

export const probeSchema = object({
  peer: text,
  good: { type: 'boolean' },
  summary: text,
  means: nullableText,
  pathMtu: nullableCount,
  exact: { type: 'boolean' },
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
      tap: object({ rx: traffic, tx: traffic }),
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
