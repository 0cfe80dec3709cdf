/**
 * Streams of long texts with bounded memory.
 *
 * Pieces are joined into chunks. A chunk is made only after the client has read the previous ones,
 * and the event loop runs between two chunks. So a response of any length needs memory for some
 * chunks, and other work of the main thread waits for one chunk at most.
 */
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ApiError } from './errors.js';
import type { Turn, Turns } from './turns.js';

/** Minimum characters of a chunk: a third of a millisecond of work. */
const CHUNK_LEN = 64 * 1024;
/** Maximum pieces joined before the event loop runs, even if the pieces are short. */
const TURN_PIECES = 64;
/** Milliseconds after which the stream of a client that reads nothing is destroyed. */
const STALL_MS = 10_000;

/**
 * @param pieces text of a few hundred lines at most each
 * @param stallMs milliseconds after which the stream of a client that reads nothing is destroyed
 */
export function textStream(pieces: AsyncIterable<string>, stallMs = STALL_MS): Readable {
  const stream = Readable.from(chunks(pieces, stalled), { objectMode: false });
  return stream;

  function stalled(): NodeJS.Timeout {
    const error = new Error(`the client has read nothing for ${stallMs} ms`);
    return setTimeout(() => stream.destroy(error), stallMs);
  }
}

/**
 * Creates a stream whose text is generated after the stream has a place of the semaphore `turns`.
 *
 * @param client client that the place is counted for (`clientOf`)
 * @throws ApiError overloaded when the queue is full
 */
export function textInTurn(turns: Turns, client: string, pieces: () => AsyncIterable<string>): Readable {
  const tooSlow = new Error('ended: the client is slow and another client is waiting');
  const turn = turns.enter(client, () => stream.destroy(tooSlow));
  if (turn === undefined)
    throw new ApiError(
      'overloaded',
      `too many requests for this resource (limits: ${turns.limits}); retry later`,
    );
  const stream = textStream(whenAdmitted(turn, pieces));
  // A destroyed stream leaves the queue at once. A `finally` in the generator would run too late,
  // because the generator is suspended while it waits for its place.
  const { _destroy } = stream;
  stream._destroy = (error, done) => {
    turn.leave();
    _destroy.call(stream, error, done);
  };
  return stream;
}

async function* whenAdmitted(turn: Turn, pieces: () => AsyncIterable<string>): AsyncGenerator<string> {
  if (await turn.admitted) yield* pieces();
}

/** @param watch starts the timer of a stalled client */
async function* chunks(pieces: AsyncIterable<string>, watch: () => NodeJS.Timeout): AsyncGenerator<string> {
  let chunk = '';
  let joined = 0;
  for await (const piece of pieces) {
    chunk += piece;
    joined++;
    if (chunk.length < CHUNK_LEN && joined < TURN_PIECES) continue;
    if (chunk.length >= CHUNK_LEN) {
      yield* watched(chunk, watch);
      chunk = '';
    }
    joined = 0;
    await nextTurn();
  }
  yield* watched(chunk, watch);
}

/**
 * Yields a chunk and runs the timer until the client reads on. The generator is suspended at
 * `yield` until then.
 */
function* watched(chunk: string, watch: () => NodeJS.Timeout): Generator<string> {
  const timer = watch();
  try {
    yield chunk;
  } finally {
    clearTimeout(timer);
  }
}
