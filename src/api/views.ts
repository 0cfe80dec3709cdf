/** Answers of the API, for its clients: each is what the function that writes it returns. */
export type { CountersView, PeerCounters, Traffic, VniCounters } from './counters.js';
export type { Finding, ReloadReport } from './deps.js';
export type { Drops } from './drops.js';
export type { FdbView } from './routes/fdb.js';
export type { PeerView } from './routes/peers.js';
export type { ProbeStep, ProbeView } from './routes/probe.js';
export type { StatusView } from './routes/status.js';
export type { VniView } from './routes/vnis.js';
