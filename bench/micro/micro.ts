/**
 * All micro-benchmarks, in the order a frame meets what they measure.
 */
import { columnCases } from './columns.js';
import { datapathCases } from './datapath.js';
import { learnCases, lookupCases } from './fdb.js';
import { floodCases } from './flood.js';
import { headerCases } from './header.js';
import { importCases } from './import-cost.js';
import { type MicroResult, runSuite } from './suite.js';

export const LOOKUP_SIZES = [1 << 10, 1 << 16, 1 << 20] as const;
const PEER_COUNTS = [1, 2, 8, 64, 512];
const MAX_TIME_S = 0.5;
const MAX_TIME_SHORT_S = 0.02;

export interface MicroOptions {
  /** Every suite; else the lookups only. */
  all: boolean;
  /** Do they run at all? Figures mean nothing. */
  short: boolean;
}

export const LOOKUP_SUITE = 'FDB lookup in random order, an entry';
export const FLOOD_SUITE = 'Flooding between memory ports, a copy';

export function runMicro({ all, short }: MicroOptions): MicroResult[] {
  const maxTimeS = short ? MAX_TIME_SHORT_S : MAX_TIME_S;
  const lookups = () => runSuite(LOOKUP_SUITE, LOOKUP_SIZES.flatMap(lookupCases), maxTimeS);
  if (!all) return lookups();
  return [
    runSuite('Headers, a frame', headerCases(), maxTimeS),
    lookups(),
    runSuite('FDB learning, a frame', learnCases(), maxTimeS),
    runSuite('Forwarding between memory ports, a frame', datapathCases(), maxTimeS),
    runSuite(FLOOD_SUITE, PEER_COUNTS.map(floodCases), maxTimeS),
    runSuite('The same function, local or imported, a frame', importCases(), maxTimeS),
    runSuite('Descriptors in columns or in rows, a descriptor', columnCases(), maxTimeS),
  ].flat();
}
