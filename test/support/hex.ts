/**
 * Annotated bytes: rows of hex digits, each with its meaning behind a `#`.
 *
 *     hex(`
 *       08 00 00 00   # flags: I
 *       00 00 64 00   # VNI 100
 *     `)
 */

/** @throws Error when the text without comments and white space is not whole bytes of hex */
export function hex(text: string): Uint8Array {
  const digits = text.replace(/#.*$/gm, '').replace(/\s+/g, '');
  if (!/^(?:[0-9a-f]{2})*$/i.test(digits)) throw new Error(`not hex bytes: ${digits}`);
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

/** Concatenates byte arrays. */
export function concat(...pieces: Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(pieces));
}

/** Returns a copy with `bytes` written at `off`. */
export function patched(b: Uint8Array, off: number, ...bytes: number[]): Uint8Array {
  const copy = b.slice();
  copy.set(bytes, off);
  return copy;
}
