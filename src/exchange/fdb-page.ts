/**
 * A page of FDB entries on its way from a worker to the main thread: rows of words in one buffer that is copied
 * as it is. As objects, a thousand entries took the data-plane thread 4 ms to copy; that was the tail of the round
 * trips of whoever's FDB is being listed.
 *
 *     word 0  MAC, first two bytes    word 2  type    word 4–9  address, as a peer row has it (family … scope id)
 *     word 1  MAC, last four bytes    word 3  age, ms
 *
 * A learned peer has no row that the main thread knows of, so each entry brings its address.
 */
import { addressOfRow } from '../abi/peer-row.js';
import type { MacParts, PackedAddress } from './protocol.js';

const MAC_HIGH = 0;
const MAC_LOW = 1;
const TYPE = 2;
const AGE_MS = 3;
const PEER = 4;
const ROW = PEER + 6;

const STATIC = 1;

/** One FDB entry as a list shows it. */
export interface FdbItem {
  mac: MacParts;
  address: PackedAddress;
  type: 'static' | 'dynamic';
  ageMs: number;
}

/** Source of packed peer addresses. */
export interface PeerAddresses {
  /** Copies the address of a peer row, six words, to `words` from `base` on. */
  copyAddress(peerIdx: number, words: Int32Array, base: number): void;
}

/** The worker's side: entries are added until the page is full. */
export class FdbPage {
  #words: Int32Array;
  count = 0;

  /** @param capacity entries expected at most; there is room for more */
  constructor(capacity: number) {
    this.#words = new Int32Array(Math.max(1, capacity) * ROW);
  }

  add(mac: MacParts, isStatic: boolean, ageMs: number, peers: PeerAddresses, peerIdx: number): void {
    if ((this.count + 1) * ROW > this.#words.length) this.#grow();
    const words = this.#words;
    const base = this.count++ * ROW;
    words[base + MAC_HIGH] = mac.high;
    words[base + MAC_LOW] = mac.low;
    words[base + TYPE] = isStatic ? STATIC : 0;
    words[base + AGE_MS] = ageMs;
    peers.copyAddress(peerIdx, words, base + PEER);
  }

  /** The rows in use, in a buffer of their own: a message copies the whole of a view's buffer. */
  toMessage(): Int32Array<ArrayBuffer> {
    return this.#words.slice(0, this.count * ROW);
  }

  #grow(): void {
    const words = new Int32Array(this.#words.length * 2);
    words.set(this.#words);
    this.#words = words;
  }
}

/** The main thread's side. */
export function* itemsOf(words: Int32Array): Iterable<FdbItem> {
  for (let base = 0; base < words.length; base += ROW) {
    yield {
      mac: { high: words[base + MAC_HIGH], low: words[base + MAC_LOW] },
      address: addressOfRow(words, base + PEER),
      type: words[base + TYPE] === STATIC ? 'static' : 'dynamic',
      ageMs: words[base + AGE_MS],
    };
  }
}
