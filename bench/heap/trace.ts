/**
 * Parser of the output of `node --trace-gc`:
 *
 *     [25844:0x7f09b8000f00]      186 ms: Scavenge 5.7 (8.7) -> 3.7 (8.7) MB, 0.12 / 0.00 ms  … allocation failure;
 *     [25844:0x7f09b8000f00]      174 ms: Mark-Compact 4.7 (8.5) -> 3.5 (8.7) MB, 21.69 / … testing; GC in …
 *
 * Every thread has its own isolate. Requested collections ("testing") identify the thread, and mark
 * where its trace begins and ends.
 */

const LINE =
  /^\[\d+:(0x[0-9a-f]+)\]\s+\d+ ms: ([\w-]+)(?: \(.*?\))? ([\d.]+) \([\d.]+\) -> ([\d.]+) \([\d.]+\) MB/;
const SCAVENGE = 'Scavenge';
const MB = 1e6;

/** Collections of one thread between its last two requested collections. */
export interface Collections {
  scavenges: number;
  /** Collections of all other kinds. */
  major: number;
  /** Bytes freed by the collections. */
  freedBytes: number;
  /** Lines of the trace, with those of the two requested collections. */
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
 * @param text whole output of the process
 * @returns undefined unless exactly one thread had two or more requested collections
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
