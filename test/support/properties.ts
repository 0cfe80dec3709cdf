/**
 * Properties that hold for every input, tried with random ones (fast-check). A failure is shrunk, and its message has
 * the seed: `PROPERTY_SEED=… node …` tries the same inputs again.
 */
import fc from 'fast-check';

const seed = process.env.PROPERTY_SEED;

/** @param runs inputs tried @throws Error with the smallest input found, seed and path */
export async function holds<Inputs extends [unknown, ...unknown[]]>(
  runs: number,
  arbitraries: { [K in keyof Inputs]: fc.Arbitrary<Inputs[K]> },
  predicate: (...inputs: Inputs) => void | Promise<void>,
): Promise<void> {
  const fixed = seed === undefined ? {} : { seed: Number(seed) };
  await fc.assert(
    fc.asyncProperty(...arbitraries, async (...inputs) => predicate(...inputs)),
    {
      numRuns: runs,
      ...fixed,
    },
  );
}

/** Fails where a read leaves [from, to). */
export function guarded(b: Uint8Array, from: number, to: number): Uint8Array {
  return new Proxy(b, {
    get(target, key) {
      const at = typeof key === 'string' ? Number(key) : Number.NaN;
      if (Number.isNaN(at)) return Reflect.get(target, key, target);
      if (at >= from && at < to) return target[at];
      throw new Error(`byte ${at} is read, which is outside of ${from} … ${to - 1}`);
    },
  });
}

/** Words of every kind that a value can be written as, beside arbitrary text. */
export function words(...likely: string[]): fc.Arbitrary<string> {
  return fc.oneof(
    fc.constantFrom(...likely),
    fc.constantFrom(...likely).chain((word) => fc.nat(word.length).map((at) => word.slice(0, at))),
    fc.string({ maxLength: 30 }),
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.integer().map(String),
    fc.constantFrom('__proto__', 'constructor', 'toString', 'null', 'true', '010', '1e3', '-0', 'NaN', ''),
  );
}
