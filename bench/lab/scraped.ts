/**
 * vtepd under monitoring: metrics and an FDB of 60,000 entries, read every second.
 *
 * The reads should not affect round trips, because another thread serves them.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Vtepd } from '../../test/support/vtepd.js';
import { eventually } from '../../test/support/wait.js';
import { learn } from './blast.js';
import { VNI, type Vtep, vtepdVtep } from './vteps.js';

const ENTRIES = 60_000;
const PERIOD_MS = 1000;
/** Without ageing, so that entries last for the whole stage. */
const bare = vtepdVtep({ flags: '--ageing 0' });

/** A vtepd whose FDB is filled by learning, from datagrams of its peer. */
export const filledVtepd: Vtep = async (site, peer) => {
  const installed = await bare(site, peer);
  const { vtepd } = installed;
  if (vtepd) {
    await learn(peer.host, site.underlay, VNI, ENTRIES);
    await eventually(`${ENTRIES} FDB entries`, async () => (await entriesOf(vtepd)) >= ENTRIES * 0.99);
  }
  return installed;
};

async function entriesOf(vtepd: Vtepd): Promise<number> {
  return (await vtepd.metrics()).sum('vtepd_fdb_entries');
}

/** Runs work while each daemon is read once per second. */
export async function whileScraped<T>(vtepds: readonly Vtepd[], work: () => Promise<T>): Promise<T> {
  const ended = new AbortController();
  const scraping = vtepds.map((vtepd) => scrapeUntil(vtepd, ended.signal));
  try {
    return await work();
  } finally {
    ended.abort();
    await Promise.all(scraping);
  }
}

async function scrapeUntil(vtepd: Vtepd, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    await Promise.all([vtepd.get('/metrics'), vtepd.fdb(VNI)]);
    await delay(PERIOD_MS, undefined, { signal: ended }).catch(() => undefined);
  }
}
