import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { textStream } from '../../src/api/text-stream.js';

/** Maximum chunk: the minimum length plus one piece. */
const CHUNK_MAX = 64 * 1024 + 1000;

async function* pieces(count: number, piece: string, made = { count: 0, ended: false }) {
  try {
    for (; made.count < count; made.count++) yield piece;
  } finally {
    made.ended = true;
  }
}

t.test('the text is complete and chunks are bounded', async (t) => {
  const parts: string[] = [];
  for await (const chunk of textStream(pieces(1000, 'é'.repeat(999)))) parts.push(String(chunk));
  t.equal(parts.join(''), 'é'.repeat(999_000));
  t.ok(parts.length >= 14, `the text has at least 14 chunks (${parts.length})`);
  t.ok(
    parts.every((part) => part.length <= CHUNK_MAX),
    `no chunk is too long (longest: ${Math.max(...parts.map(({ length }) => length))} characters)`,
  );
});

t.test('an empty text is an empty stream', async (t) => {
  const parts: string[] = [];
  for await (const chunk of textStream(pieces(0, ''))) parts.push(String(chunk));
  t.equal(parts.join(''), '');
});

for (const [what, piece, count, turnsMin] of [
  ['long pieces', 'x'.repeat(8192), 200, 20],
  ['pieces without text', '', 2000, 25],
] as const) {
  t.test(`the event loop runs between chunks: ${what}`, async (t) => {
    let turns = 0;
    let reading = true;
    const turning = (async () => {
      for (; reading; turns++) await nextTurn();
    })();
    for await (const chunk of textStream(pieces(count, piece))) void chunk;
    reading = false;
    await turning;
    t.ok(turns >= turnsMin, `the event loop ran ${turns} times`);
  });
}

t.test('only some chunks are made for a client that does not read', async (t) => {
  const made = { count: 0, ended: false };
  const stream = textStream(pieces(100_000, 'x'.repeat(1024), made));
  stream.once('readable', () => {});
  await once(stream, 'readable');
  for (let turn = 0; turn < 100; turn++) await nextTurn();
  t.ok(made.count < 1000, `only ${made.count} of 100,000 pieces were made`);
  stream.destroy();
  await once(stream, 'close');
  for (let turn = 0; turn < 10 && !made.ended; turn++) await nextTurn();
  t.ok(made.ended, 'the generator is ended when the client disconnects');
});

t.test('the stream of a stalled client is destroyed after the time limit', async (t) => {
  const made = { count: 0, ended: false };
  const stream = textStream(pieces(100_000, 'x'.repeat(1024), made), 20);
  stream.once('readable', () => {});
  const [error] = await once(stream, 'error');
  t.match(error, { message: 'the client has read nothing for 20 ms' });
  for (let turn = 0; turn < 10 && !made.ended; turn++) await nextTurn();
  t.ok(made.ended);
});

t.test('an error of the generator is an error of the stream', async (t) => {
  async function* failing(): AsyncGenerator<string> {
    yield 'x';
    throw new Error('no more');
  }
  await t.rejects(
    async () => {
      for await (const chunk of textStream(failing())) void chunk;
    },
    { message: 'no more' },
  );
});
