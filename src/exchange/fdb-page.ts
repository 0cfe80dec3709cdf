/**
 * A page of FDB entries as a message from a worker to the main thread.
 *
 * Each entry is a record of ten words, in one buffer that is copied as a whole. Copying a thousand
 * entries as objects took the data-plane thread 4 ms, and forwarded frames waited for it.
 *
 *     word 0  MAC, first two bytes    word 2  type
 *     word 1  MAC, last four bytes    word 3  age, ms
 *     word 4–9  address, in the format of a peer row (family … scope id)
 *
 * The main thread knows no row for a learned peer, so each entry contains the address of its peer.
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

/** One FDB entry of a list. */
export interface FdbItem {
  mac: MacParts;
  address: PackedAddress;
  type: 'static' | 'dynamic';
  ageMs: number;
}

/** Source of packed peer addresses. */
export interface PeerAddresses {
  /** Copies the address of a peer row, six words, to `words` at `base`. */
  copyAddress(peerIdx: number, words: Int32Array, base: number): void;
}

/** Worker side: collects entries. The page grows beyond its capacity if necessary. */
export class FdbPage {
  #words: Int32Array;
  count = 0;

  /** @param capacity expected number of entries */
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

  /**
   * Copies the used records to a new buffer, because a message copies the whole buffer of a view.
   */
  toMessage(): Int32Array<ArrayBuffer> {
    return this.#words.slice(0, this.count * ROW);
  }

  #grow(): void {
    const words = new Int32Array(this.#words.length * 2);
    words.set(this.#words);
    this.#words = words;
  }
}

/** Main-thread side: iterates over the entries of a page. */
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
