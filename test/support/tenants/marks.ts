/**
 * Marks: eight bytes that identify the tenant and the frame into which they were written.
 *
 * A mark shows to which frame the bytes around the mark belong, wherever these bytes occur.
 *
 *     0xe7 0xb3 | tenant | number (3 bytes) | sum of these 4 bytes | weighted sum of them
 *
 * A change of two adjacent bytes, for example by a checksum written at a wrong offset, does not
 * turn a mark into another mark, because the weights of adjacent bytes differ by one and the last
 * weight is one.
 *
 * A payload is filled with copies of its frame's mark. Any sixteen consecutive bytes of a payload
 * contain at least one whole mark.
 */

export const MARK_LEN = 8;
const MAGIC = Buffer.of(0xe7, 0xb3);
const SEED = 0x5a;

/** Number of distinguishable frames of a tenant; later frames reuse the numbers. */
const NUMBERS = 1 << 24;

/** Tenant and number of a mark, in one integer. */
export type Mark = number;

export function markOf(tenant: number, number: number): Mark {
  return tenant * NUMBERS + (number % NUMBERS);
}

export function tenantOf(mark: Mark): number {
  return Math.floor(mark / NUMBERS);
}

/** Fills b[from, to) with copies of a mark; the last copy may be cut off. */
export function fillMarks(b: Buffer, from: number, to: number, mark: Mark): void {
  if (to > from) b.fill(bytesOf(mark), from, to);
}

/** Set of all marks that occur whole in `b`. */
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
  bytes.set(sums(bytes, 0), 6);
  return bytes;
}

/** Returns −1 when there is no mark at `at`. */
function markAt(b: Buffer, at: number): Mark {
  if (at + MARK_LEN > b.length) return -1;
  const [sum, weighted] = sums(b, at);
  if (b[at + 6] !== sum || b[at + 7] !== weighted) return -1;
  return b[at + 2] * NUMBERS + b.readUIntBE(at + 3, 3);
}

function sums(b: Buffer, at: number): [number, number] {
  let sum = SEED;
  let weighted = SEED;
  for (let i = 2; i < 6; i++) {
    sum += b[at + i];
    weighted += (6 - i) * b[at + i];
  }
  return [sum & 0xff, weighted & 0xff];
}
