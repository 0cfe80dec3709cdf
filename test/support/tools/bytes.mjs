/**
 * Pseudo-random bytes that any number of processes can make again: AES in counter mode over zeros. Fast enough not
 * to be what a transfer waits for.
 */
import { createCipheriv } from 'node:crypto';

const CHUNK_LEN = 256 * 1024;

/** @yields buffers, `count` bytes in all */
export function* pseudoRandom(count, seed = 1) {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK_LEN);
  for (let left = count; left > 0; left -= CHUNK_LEN) {
    yield cipher.update(left >= CHUNK_LEN ? zeros : zeros.subarray(0, left));
  }
}
