/**
 * Program that configures a data plane without a kernel and prints its memory as a line of JSON.
 *
 * Usage: `daemon.js VNIS PEERS`. memory.ts runs it as a process, because resident memory is a
 * figure of a process.
 */
import type { DaemonMemory } from './memory.js';
import { addVni, peerOf, residentBytes, startHandle } from './plane.js';

const [vnis, peers] = process.argv.slice(2).map(Number);
console.log(JSON.stringify(await configure()));

async function configure(): Promise<DaemonMemory> {
  const handle = await startHandle();
  await addVni(handle, 0);
  await handle.addPeers(0, [peerOf(0)]);
  const emptyBytes = residentBytes();
  const startedMs = performance.now();
  // Every VNI has the same peers, as with `--peer`: the VNIs share one list.
  const list = Array.from({ length: peers }, (_, i) => peerOf(i));
  await handle.addPeers(0, list.slice(1));
  for (let vni = 1; vni < vnis; vni++) {
    await addVni(handle, vni);
    await handle.addPeers(vni, list);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  const fullBytes = residentBytes();
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  await handle.stop();
  return { emptyBytes, fullBytes, peakBytes, seconds };
}
