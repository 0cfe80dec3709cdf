/**
 * Marks: eight bytes that say whose they are and which frame they were written into, so that each byte string of a payload
 * can be attributed wherever it turns up.
 *
 *     0xe7 0xb3 | tenant | number (3 bytes) | sum of the four | 0x9d
 *
 * A payload is filled with copies of its frame's mark. Sixteen bytes of a payload in a row hold at least one whole mark.
 */

export const MARK_LEN = 8;
const MAGIC = Buffer.of(0xe7, 0xb3);
const LAST = 0x9d;

/** Frames that can be told apart. Numbers are used again after that many. */
const NUMBERS = 1 << 24;

/** What a mark says, in one integer. */
export type Mark = number;

export function markOf(tenant: number, number: number): Mark {
  return tenant * NUMBERS + (number % NUMBERS);
}

export function tenantOf(mark: Mark): number {
  return Math.floor(mark / NUMBERS);
}

/** Fills b[from, to) with copies of a mark; the last may be cut off. */
export function fillMarks(b: Buffer, from: number, to: number, mark: Mark): void {
  if (to > from) b.fill(bytesOf(mark), from, to);
}

/** Every mark that occurs whole in `b`, each once. */
export function marksIn(b: Uint8Array): Set<Mark> {
  const found = new Set<Mark>();
  const buffer = Buffer.from(b.buffer, b.byteOffset, b.length);
  for (let at = buffer.indexOf(MAGIC); at >= 0; ) {
    const mark = markAt(buffer, at);
    if (mark >= 0) found.add(mark);
    at += mark >= 0 ? MARK_LEN : 1;
    if (buffer[at] !== MAGIC[0] || buffer[at + 1] !== MAGIC[1]) at = buffer.indexOf(MAGIC, at);
  }
  return found;
}

function bytesOf(mark: Mark): Buffer {
  const bytes = Buffer.alloc(MARK_LEN);
  bytes.set(MAGIC);
  bytes[2] = tenantOf(mark);
  bytes.writeUIntBE(mark % NUMBERS, 3, 3);
  bytes[6] = sum(bytes, 0);
  bytes[7] = LAST;
  return bytes;
}

/** −1: none. */
function markAt(b: Buffer, at: number): Mark {
  if (at + MARK_LEN > b.length || b[at + 7] !== LAST || b[at + 6] !== sum(b, at)) return -1;
  return b[at + 2] * NUMBERS + b.readUIntBE(at + 3, 3);
}

function sum(b: Buffer, at: number): number {
  return (b[at + 2] + b[at + 3] + b[at + 4] + b[at + 5] + 0x5a) & 0xff;
}
