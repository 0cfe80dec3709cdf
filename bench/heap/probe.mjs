/**
 * Loaded into the daemon with `--import`: says how large the heap of its data-plane thread is, whenever that thread
 * takes a request, which the benchmark makes it do through the API. The thread never turns its event loop, so this is
 * the one moment at which something of ours runs there.
 *
 * Each sample is a line of JSON in the file that BENCH_HEAP_FILE names: bytes in use before and after a full
 * collection. That collection shows in `--trace-gc` as "testing": it marks the place, and whose trace it is.
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
