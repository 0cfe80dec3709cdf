/**
 * Faults that a lab injects into a daemon, preloaded by NODE_OPTIONS=--import.
 *
 * vtepd itself contains none of this code.
 *
 * - A data-plane thread throws when it receives the request to delete the FDB entry of CRASH_MAC.
 * - On SIGUSR2 the main thread fills its heap.
 */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';

/** MAC 02:de:ad:00:00:01, as its first two and its last four bytes. */
const CRASH_MAC = { high: 0x02de, low: 0xad000001 | 0 };

if (isMainThread) {
  process.on('SIGUSR2', () => {
    const kept = [];
    for (;;) kept.push(new Array(10_000).fill(kept.length));
  });
} else {
  const threads = createRequire(import.meta.url)('node:worker_threads');
  const { receiveMessageOnPort } = threads;
  threads.receiveMessageOnPort = (port) => {
    const received = receiveMessageOnPort(port);
    const { op, mac } = received?.message?.change ?? {};
    if (op === 'fdb.del' && mac.high === CRASH_MAC.high && (mac.low | 0) === CRASH_MAC.low)
      throw new Error('fault injected by the lab');
    return received;
  };
  syncBuiltinESMExports();
}
