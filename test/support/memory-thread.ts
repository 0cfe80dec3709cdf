/** Entry module of a data-plane thread without a kernel, for tests of the handle. */
import { type MessagePort, workerData } from 'node:worker_threads';
import type { WorkerInit } from '../../src/exchange/protocol.js';
import { DataPlaneThread } from '../../src/switch/thread.js';
import { MemoryOverlay, MemoryUnderlay } from './memory-ports.js';

const { init, port } = workerData as { init: WorkerInit; port: MessagePort };
new DataPlaneThread(init, port, { overlay: new MemoryOverlay(), underlay: new MemoryUnderlay() }).run();
