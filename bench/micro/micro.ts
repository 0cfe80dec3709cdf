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

const MAX_TIME_S = 1;
const MAX_TIME_SHORT_S = 0.02;

/** @param isShort do they run at all? Figures mean nothing. */
export function runMicro(isShort: boolean): MicroResult[] {
  const maxTimeS = isShort ? MAX_TIME_SHORT_S : MAX_TIME_S;
  const lookupSizes = isShort ? [1 << 10] : [1 << 10, 1 << 16, 1 << 20];
  return [
    runSuite('Headers, a frame', headerCases(), maxTimeS),
    runSuite('FDB lookup in random order, an entry', lookupSizes.flatMap(lookupCases), maxTimeS),
    runSuite('FDB learning, a frame', learnCases(), maxTimeS),
    runSuite('Forwarding between memory ports, a frame', datapathCases(), maxTimeS),
    runSuite('Flooding between memory ports, a copy', [1, 8, 64, 512].map(floodCases), maxTimeS),
    runSuite('The same function, local or imported, a frame', importCases(), maxTimeS),
    runSuite('Descriptors in columns or in rows, a descriptor', columnCases(), maxTimeS),
  ].flat();
}
