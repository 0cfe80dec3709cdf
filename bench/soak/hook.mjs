/**
 * Hook of the soak test, loaded into the daemon with `--import`.
 *
 * SIGUSR2 ends the data-plane thread, like a crash. At exit the delays of the main thread's event
 * loop over the whole run are written to the file SOAK_LAG_FILE.
 */
import { writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import threads from 'node:worker_threads';

if (threads.isMainThread) {
  endWorkers();
  measureLag();
}

function endWorkers() {
  const { Worker } = threads;
  const workers = new Set();
  threads.Worker = class extends Worker {
    constructor(...args) {
      super(...args);
      workers.add(this);
      this.once('exit', () => workers.delete(this));
    }
  };
  syncBuiltinESMExports();
  process.on('SIGUSR2', () => {
    for (const worker of workers) void worker.terminate();
  });
}

function measureLag() {
  const resolution = 1;
  const delays = monitorEventLoopDelay({ resolution });
  delays.enable();
  process.once('exit', () => {
    // The histogram contains the sampling interval: without delay its values are the resolution.
    const ms = (ns) => Math.max(0, ns / 1e6 - resolution);
    const lag = { p50: ms(delays.percentile(50)), p99: ms(delays.percentile(99)), max: ms(delays.max) };
    writeFileSync(process.env.SOAK_LAG_FILE, JSON.stringify(lag));
  });
}
