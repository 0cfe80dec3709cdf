/**
 * Reproducible pseudo-random bytes: AES in counter mode over zeros.
 *
 * Any number of processes can generate the same bytes, fast enough not to limit a transfer.
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
