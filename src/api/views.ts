/**
 * Response types of the API for clients; each is the return type of the function that builds it.
 */
export type { CountersView, PeerCounters, Traffic, VniCounters } from './counters.js';
export type { Finding, ReloadReport } from './deps.js';
export type { Drops } from './drops.js';
export type { Problem } from './errors.js';
export type { FdbView } from './routes/fdb.js';
export type { PeerView } from './routes/peers.js';
export type { ProbeStep, ProbeView } from './routes/probe.js';
export type { StatusView } from './routes/status.js';
export type { VniView } from './routes/vnis.js';
