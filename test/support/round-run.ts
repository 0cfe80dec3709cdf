/**
 * Run by `allocation.lab.test.ts` in a process of its own: the built worker with memory ports and no frames, which turns as fast
 * as it can, as its wait finds something ready at once. It is asked for the FDB now and then: at these moments
 * `bench/heap/probe.mjs`, which is loaded into its thread, says how large the heap is.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { addVni, startHandle } from '../../bench/memory/plane.js';

const VNI = 100;
/** After it everything that a round runs has been compiled to what it stays. */
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
