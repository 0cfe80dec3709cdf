/**
 * Heap samples of a worker that runs rounds, in a process of its own.
 *
 * `allocation.lab.test.ts` runs this file. The built worker uses memory ports and receives no
 * frames; it runs rounds without a pause because its wait returns at once. This process requests
 * the FDB at intervals. At each request `bench/heap/probe.mjs`, which is loaded into the worker's
 * thread, records the size of the heap.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { addVni, startHandle } from '../../bench/memory/plane.js';

const VNI = 100;
/** After this time, ms, all code of a round is compiled to its final form. */
const WARM_UP_MS = 2000;
const BETWEEN_MS = 1000;
const SAMPLES = 5;

const handle = await startHandle({ isReady: true });
await addVni(handle, VNI);
await delay(WARM_UP_MS);
for (let sample = 0; sample < SAMPLES; sample++) {
  await handle.listFdb(VNI, { type: 'all', peer: '' }, 1, 0);
  await delay(BETWEEN_MS);
}
await handle.stop();
