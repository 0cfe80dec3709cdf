/**
 * All micro-benchmarks, in the order of the data path.
 */
import type { BenchOptions } from '../options.js';
import type { Measured } from '../results.js';
import { datapathCases } from './datapath.js';
import { bytesPerEntry, learnCases, lookupCases } from './fdb.js';
import { floodCases } from './flood.js';
import { headerCases } from './header.js';
import { runSuite } from './suite.js';

const LOOKUP_SIZES = [1 << 10, 1 << 16, 1 << 20];
const PEER_COUNTS = [1, 2, 8, 64, 512];
const MAX_TIME_S = 0.5;
const MAX_TIME_SHORT_S = 0.02;

export async function measureMicro({ short }: BenchOptions): Promise<Measured> {
  const maxTimeS = short ? MAX_TIME_SHORT_S : MAX_TIME_S;
  const lookups = runSuite(
    { name: 'fdb-lookup', title: 'FDB lookup in random order, ns an entry', scale: 'linear' },
    LOOKUP_SIZES.flatMap(lookupCases),
    maxTimeS,
  );
  const [few, , , , , , many] = lookups.rows.map(({ values: [spread] }) => spread?.median ?? Number.NaN);
  const rows = [
    {
      id: 'fdb-bytes',
      title: 'FDB memory per entry, 1 M entries',
      unit: 'B',
      vtepd: [bytesPerEntry(1 << 20)],
      must: 32,
    },
    {
      id: 'fdb-lookup',
      title: 'FDB lookup, 1 M entries against 1 k',
      unit: '×',
      vtepd: [many / few],
      must: 4,
    },
  ];
  const flood = {
    name: 'flood',
    title: 'Flooding between memory ports, ns a copy',
    scale: 'linear',
  } as const;
  const figures = [
    runSuite({ name: 'headers', title: 'Headers, ns a frame' }, headerCases(), maxTimeS),
    lookups,
    runSuite({ name: 'learning', title: 'FDB learning, ns a frame' }, learnCases(), maxTimeS),
    runSuite(
      { name: 'forwarding', title: 'Forwarding between memory ports, ns a frame' },
      datapathCases(),
      maxTimeS,
    ),
    runSuite(flood, PEER_COUNTS.map(floodCases), maxTimeS),
  ];
  return { rows, figures };
}
