/**
 * Heap probe of the data-plane thread, loaded into the daemon with `--import`.
 *
 * It takes a sample whenever the thread receives a request `fdb.list`, which the benchmark causes
 * through the API. The thread never runs its event loop, so no other hook would be called.
 *
 * A sample is a line of JSON in the file BENCH_HEAP_FILE: bytes in use before and after a full
 * collection. `--trace-gc` reports that collection as "testing", which marks the sample in the
 * trace and identifies the thread.
 */
import { appendFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { getHeapStatistics } from 'node:v8';
import threads from 'node:worker_threads';

if (!threads.isMainThread) {
  const { receiveMessageOnPort } = threads;
  threads.receiveMessageOnPort = (port) => {
    const received = receiveMessageOnPort(port);
    if (received?.message?.change?.op === 'fdb.list') sample();
    return received;
  };
  syncBuiltinESMExports();
}

function sample() {
  const before = getHeapStatistics().used_heap_size;
  globalThis.gc();
  const after = getHeapStatistics().used_heap_size;
  appendFileSync(process.env.BENCH_HEAP_FILE, `${JSON.stringify({ before, after })}\n`);
}
