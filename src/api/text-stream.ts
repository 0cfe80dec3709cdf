/**
 * Long texts as streams: pieces are joined to chunks, one chunk is made at a time when the client has taken the ones before,
 * and between two chunks the event loop has its turn. So an answer of any length takes the memory of some chunks, and what else
 * the main thread does waits for one chunk at most.
 */
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ApiError } from './errors.js';
import type { Turn, Turns } from './turns.js';

/** Characters of a chunk at least: a third of a millisecond's work. */
const CHUNK_LEN = 64 * 1024;
/** Pieces in one turn of the event loop, however short they are. */
const TURN_PIECES = 64;
/** Milliseconds until a client that takes nothing is given up. */
const STALL_MS = 10_000;

/** @param pieces each of a few hundred lines at most @param stallMs until a client that takes nothing is given up */
export function textStream(pieces: AsyncIterable<string>, stallMs = STALL_MS): Readable {
  const stream = Readable.from(chunks(pieces, stalled), { objectMode: false });
  return stream;

  function stalled(): NodeJS.Timeout {
    const error = new Error(`the client has taken nothing for ${stallMs} ms`);
    return setTimeout(() => stream.destroy(error), stallMs);
  }
}

/**
 * A text that is made while it has a place of `turns`, and costs nothing before.
 *
 * @param client whose share of the places it is (`clientOf`)
 * @throws ApiError overloaded: the queue for a place is full
 */
export function textInTurn(turns: Turns, client: string, pieces: () => AsyncIterable<string>): Readable {
  const tooSlow = new Error('the client is slow, and another one waits');
  const turn = turns.enter(client, () => stream.destroy(tooSlow));
  if (turn === undefined)
    throw new ApiError(
      'overloaded',
      `as many requests for this as may wait do so (${turns.limits}); try again later`,
    );
  const stream = textStream(once(turn, pieces));
  // The generator's own end would come too late: it stands still while it waits for its place.
  const { _destroy } = stream;
  stream._destroy = (error, done) => {
    turn.leave();
    _destroy.call(stream, error, done);
  };
  return stream;
}

async function* once(turn: Turn, pieces: () => AsyncIterable<string>): AsyncGenerator<string> {
  if (await turn.mine) yield* pieces();
}

/** @param watch begins to wait for the client */
async function* chunks(pieces: AsyncIterable<string>, watch: () => NodeJS.Timeout): AsyncGenerator<string> {
  let chunk = '';
  let taken = 0;
  for await (const piece of pieces) {
    chunk += piece;
    taken++;
    if (chunk.length < CHUNK_LEN && taken < TURN_PIECES) continue;
    if (chunk.length >= CHUNK_LEN) {
      yield* watched(chunk, watch);
      chunk = '';
    }
    taken = 0;
    await nextTurn();
  }
  yield* watched(chunk, watch);
}

/** A generator stands still at `yield` until the client wants more. */
function* watched(chunk: string, watch: () => NodeJS.Timeout): Generator<string> {
  const timer = watch();
  try {
    yield chunk;
  } finally {
    clearTimeout(timer);
  }
}
