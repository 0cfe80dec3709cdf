/** Entry module of a data-plane thread without a kernel: the thread of dist/, with memory ports. */
import { join } from 'node:path';
import { type MessagePort, workerData } from 'node:worker_threads';
import type { WorkerInit } from '../../src/exchange/protocol.js';
import type * as threadModule from '../../src/switch/thread.js';
import { MemoryOverlay, MemoryUnderlay } from '../../test/support/memory-ports.js';

const { DataPlaneThread } = (await import(
  join(process.cwd(), 'dist/switch/thread.js')
)) as typeof threadModule;
const { init, port } = workerData as { init: WorkerInit; port: MessagePort };
new DataPlaneThread(init, port, { overlay: new MemoryOverlay(), underlay: new MemoryUnderlay() }).run();
