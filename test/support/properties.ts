/**
 * Property tests with random inputs (fast-check).
 *
 * A failing input is shrunk, and the message contains the seed: `PROPERTY_SEED=… node …` runs the
 * same inputs again.
 */
import fc from 'fast-check';

const seed = process.env.PROPERTY_SEED;

/**
 * @param runs number of inputs
 * @throws Error with the smallest failing input, seed and path
 */
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

/** A view of `b` that throws when a byte outside [from, to) is read. */
export function guarded(b: Uint8Array, from: number, to: number): Uint8Array {
  return new Proxy(b, {
    get(target, key) {
      const at = typeof key === 'string' ? Number(key) : Number.NaN;
      if (Number.isNaN(at)) return Reflect.get(target, key, target);
      if (at >= from && at < to) return target[at];
      throw new Error(`read of byte ${at}, outside of ${from} … ${to - 1}`);
    },
  });
}

/**
 * Texts for a value: the likely texts and their prefixes, arbitrary texts, numbers, and texts that
 * are special in JavaScript.
 */
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
