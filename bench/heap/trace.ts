/**
 * Reads what `node --trace-gc` prints:
 *
 *     [25844:0x7f09b8000f00]      186 ms: Scavenge 5.7 (8.7) -> 3.7 (8.7) MB, 0.12 / 0.00 ms  … allocation failure;
 *     [25844:0x7f09b8000f00]      174 ms: Mark-Compact 4.7 (8.5) -> 3.5 (8.7) MB, 21.69 / … testing; GC in …
 *
 * Every thread has an isolate of its own. Collections that were asked for ("testing") mark whose trace is read, and
 * where it begins and ends.
 */

const LINE =
  /^\[\d+:(0x[0-9a-f]+)\]\s+\d+ ms: ([\w-]+)(?: \(.*?\))? ([\d.]+) \([\d.]+\) -> ([\d.]+) \([\d.]+\) MB/;
const SCAVENGE = 'Scavenge';
const MB = 1e6;

/** What happened on one thread between the last two collections that were asked for. */
export interface Collections {
  scavenges: number;
  /** All others, whatever V8 calls them. */
  major: number;
  /** Bytes that they freed. */
  freedBytes: number;
  /** The lines themselves, for the record. */
  lines: string[];
}

interface Line {
  isolate: string;
  kind: string;
  freedMb: number;
  asked: boolean;
  text: string;
}

/**
 * @param text everything the process has printed
 * @returns undefined unless exactly one thread was asked for two collections or more
 */
export function collectionsBetween(text: string): Collections | undefined {
  const lines = text.split('\n').flatMap(parseLine);
  const [isolate, ...others] = new Set(lines.filter(({ asked }) => asked).map((line) => line.isolate));
  if (isolate === undefined || others.length > 0) return undefined;
  const own = lines.filter((line) => line.isolate === isolate);
  const [first, last] = own.flatMap(({ asked }, i) => (asked ? [i] : [])).slice(-2);
  if (last === undefined) return undefined;
  const between = own.slice(first + 1, last).filter(({ asked }) => !asked);
  return {
    scavenges: between.filter(({ kind }) => kind === SCAVENGE).length,
    major: between.filter(({ kind }) => kind !== SCAVENGE).length,
    freedBytes: between.reduce((sum, { freedMb }) => sum + freedMb * MB, 0),
    lines: own.slice(first, last + 1).map((line) => line.text),
  };
}

function parseLine(text: string): Line[] {
  const match = LINE.exec(text);
  if (!match) return [];
  const [, isolate, kind, before, after] = match;
  return [{ isolate, kind, freedMb: Number(before) - Number(after), asked: text.includes('testing'), text }];
}
