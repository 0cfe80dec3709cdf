/**
 * Property test: random traffic never crosses from one VNI to another.
 *
 * The traffic is trains, superframes and fragments of several VNIs and peers, valid and hostile, in
 * both directions. Each frame contains a mark, eight bytes that identify the frame and its VNI.
 * `support/tenants/world.ts` checks the invariants of each case. The seed that is printed on
 * failure reproduces all cases of an execution:
 *
 *     npm run property                  ten minutes of new cases
 *     npm run property -- --seed 7      the cases of this seed
 */
import fc from 'fast-check';
import t from 'tap';
import { GSO_UDP_L4 } from '../../../src/abi/batch.js';
import { frameSpec, UDP4, UDP4_WITH_OPTIONS, UDP6 } from '../../support/tenants/frame.js';
import { fillMarks, MARK_LEN, markOf, marksIn } from '../../support/tenants/marks.js';
import type { FromTap, Op, VniSpec, WorldSpec } from '../../support/tenants/operations.js';
import { STRAY, VNIS } from '../../support/tenants/oracle.js';
import { ADDRESSES, World } from '../../support/tenants/world.js';

/** Largest number of cases of one execution. */
const CASES = 4000;
const LIMIT_MS = Number(process.env.PROPERTY_S ?? 20) * 1000;
const SEED = process.env.PROPERTY_SEED;

const anyTenant = frameSpec(VNIS.length + 1);
const ownTenant = frameSpec(VNIS.length);

/** Frame lengths: the shortest, those of usual frames, those that fill a slot. */
const frameLen = fc.oneof(
  { weight: 1, arbitrary: fc.integer({ min: 14, max: 100 }) },
  { weight: 4, arbitrary: fc.integer({ min: 100, max: 2000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 2000, max: 65_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 65_450, max: 65_558 }) },
);

const train: fc.Arbitrary<Op> = fc.record({
  op: fc.constant('train' as const),
  source: fc.nat(ADDRESSES.length),
  size: fc.oneof(
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 60 }) },
    { weight: 5, arbitrary: fc.integer({ min: 60, max: 1500 }) },
    { weight: 1, arbitrary: fc.integer({ min: 1500, max: 9000 }) },
  ),
  count: fc.integer({ min: 2, max: 64 }),
  lastLen: fc.integer({ min: 1, max: 9000 }),
  frames: fc.array(anyTenant, { minLength: 1, maxLength: 5 }),
  flags: fc.constantFrom(0x08, 0x08, 0x08, 0x0c, 0x00),
});

const single: fc.Arbitrary<Op> = fc.record({
  op: fc.constant('single' as const),
  source: fc.nat(ADDRESSES.length),
  len: frameLen.map((len) => Math.min(len, 65_490)),
  segment: fc.integer({ min: 22, max: 2000 }),
  frame: anyTenant,
  badSource: fc.nat(9).map((n) => n === 9),
});

const superframe: fc.Arbitrary<NonNullable<FromTap['superframe']>> = fc.record({
  gsoType: fc.constantFrom(0, 1, 4, 5, 5, 5, 3, 0x81, 200),
  gsoSize: fc.oneof(
    fc.nat(1500),
    fc.integer({ min: 1400, max: 9000 }),
    fc.constantFrom(1, 1473, 65_507, 65_520, 0xffff),
  ),
  csumStartBy: fc.oneof(
    { weight: 6, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: -40, max: 70_000 }) },
  ),
  csumOff: fc.constantFrom(6, 6, 16, 16, 0, 40_000),
  needsCsum: fc.nat(5).map((n) => n < 5),
});

const fromTap: fc.Arbitrary<Op> = fc.record({
  op: fc.constant('tap' as const),
  len: frameLen,
  frame: ownTenant,
  superframe: fc.option(superframe, { freq: 3, nil: null }),
});

/**
 * Frames larger than a path, to be fragmented or answered: single packets, and UDP superframes
 * whose columns agree with their headers.
 */
const large: fc.Arbitrary<Op> = fc.record({
  op: fc.constant('tap' as const),
  len: fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 600, max: 9000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 9000, max: 65_558 }) },
    { weight: 1, arbitrary: fc.integer({ min: 65_540, max: 65_558 }) },
  ),
  frame: fc
    .tuple(ownTenant, fc.constantFrom(UDP4, UDP4, UDP4_WITH_OPTIONS, UDP6), fc.nat(3), fc.boolean())
    .map(([frame, kind, one, isTagged]) => ({
      ...frame,
      kind,
      dontFragment: one === 0,
      tags: isTagged ? frame.tags.slice(0, 2) : [],
      lies: one === 1 ? [{ field: 'ipLen' as const, how: 'headers' as const, value: 0 }] : frame.lies,
    })),
  superframe: fc.option(
    fc.oneof(fc.integer({ min: 600, max: 9000 }), fc.constantFrom(1473, 65_507, 0xffff)).map((gsoSize) => ({
      gsoType: GSO_UDP_L4,
      gsoSize,
      csumStartBy: 0,
      csumOff: 6,
      needsCsum: true,
    })),
    { freq: 3, nil: null },
  ),
});

const vni: fc.Arbitrary<VniSpec> = fc.record({
  vlan: fc.constantFrom('pass', 'strip', 'drop'),
  accept: fc.constantFrom('peers', 'any'),
  flood: fc.nat(5).map((n) => n < 5),
  packetMax: fc.constantFrom(0, 0, 1200),
});

const world: fc.Arbitrary<WorldSpec> = fc.record({
  vnis: fc.tuple(vni, vni, vni),
  pathMtus: fc.tuple(...ADDRESSES.map(() => fc.constantFrom(576, 1300, 1500, 1500, 9000, 100_000))),
  df: fc.constantFrom('set', 'set', 'unset', 'inherit'),
  workers: fc.integer({ min: 1, max: 2 }),
  pending: fc.boolean(),
  capture: fc.option(
    fc.record({
      point: fc.constantFrom('overlay', 'underlay'),
      vniIdx: fc.integer({ min: -1, max: STRAY - 1 }),
    }),
  ),
});

const ops = fc.array(fc.oneof(train, single, fromTap, large), { minLength: 1, maxLength: 5 });

t.setTimeout(LIMIT_MS + 120_000);

t.test('a checksum that overwrites bytes of a mark never makes it the mark of another frame', async (t) => {
  const mark = markOf(1, 0x722);
  const b = Buffer.alloc(MARK_LEN + 2);
  for (let at = 0; at < MARK_LEN - 1; at++)
    for (let sum = 0; sum < 0x10000; sum++) {
      fillMarks(b, 0, MARK_LEN, mark);
      b.writeUInt16BE(sum, at);
      for (const found of marksIn(b)) if (found !== mark) t.fail(`${b.toString('hex')} is a mark`);
    }
});

t.test('no frame is delivered, sent, captured or counted in another VNI', async (t) => {
  let cases = 0;
  const property = fc.property(world, ops, (spec, list) => {
    cases++;
    const world = new World(spec);
    for (const [index, op] of list.entries()) world.put(op, index);
    world.breathe();
    world.check();
  });
  const result = await fc.check(property, {
    numRuns: process.env.PROPERTY_S === undefined ? CASES : 1_000_000_000,
    interruptAfterTimeLimit: LIMIT_MS,
    ...(SEED === undefined ? {} : { seed: Number(SEED) }),
  });
  t.comment(`${cases} cases, seed ${result.seed}`);
  if (result.counterexample !== null) {
    t.comment(fc.defaultReportMessage(result));
    t.fail(result.errorInstance instanceof Error ? result.errorInstance.message : 'failed');
  }
  t.ok(cases > 0, 'at least one case ran');
});
