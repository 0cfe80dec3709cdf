/** Entry module of a data-plane thread (node:worker_threads), started by `controller/link.ts`. */
import { type MessagePort, workerData } from 'node:worker_threads';
import type { WorkerInit } from '../exchange/protocol.js';
import { DataPlaneThread } from './thread.js';

const { init, port } = workerData as { init: WorkerInit; port: MessagePort };
new DataPlaneThread(init, port).run();
