/**
 * Checks effective settings for conflicts between VNIs.
 *
 * Called after an API change, the state file or a reload has been merged. `check.ts` checks flags
 * and file; its messages name the flag, or file and line.
 */
import { ConfigError } from './config-error.js';
import type { Settings, VniSettings } from './settings.js';

/** @throws ConfigError for the first conflict */
export function checkConflicts(settings: Settings): void {
  const holders = new Map<string, number>();
  for (const vni of settings.vnis) {
    checkTap(vni, settings);
    for (const [key, value] of exclusive(vni)) claim(holders, vni.vni, key, value);
  }
  for (const vni of settings.vnis) checkBridge(vni, settings, holders);
}

function exclusive({ tap, mac, addresses }: VniSettings): [string, string][] {
  const own: [string, string][] = [['tap', tap]];
  if (mac !== '') own.push(['mac', mac]);
  return [...own, ...addresses.map((address): [string, string] => ['address', address])];
}

function claim(holders: Map<string, number>, vni: number, key: string, value: string): void {
  const before = holders.get(`${key} ${value}`);
  if (before === vni) throw new ConfigError(`${key} ${value}: given twice; give it once`);
  if (before !== undefined)
    throw new ConfigError(`${key} ${value}: already used by VNI ${before}; give VNI ${vni} another one`);
  holders.set(`${key} ${value}`, vni);
}

function checkTap({ tap }: VniSettings, { underlayDev }: Settings): void {
  if (tap !== underlayDev) return;
  throw new ConfigError(`tap ${tap}: is the --underlay-dev; the overlay cannot run over itself`);
}

function checkBridge(
  { bridge }: VniSettings,
  { underlayDev }: Settings,
  holders: ReadonlyMap<string, number>,
): void {
  if (bridge === '') return;
  const holder = holders.get(`tap ${bridge}`);
  if (holder !== undefined)
    throw new ConfigError(`bridge ${bridge}: is the TAP of VNI ${holder}; name another bridge`);
  if (bridge === underlayDev)
    throw new ConfigError(`bridge ${bridge}: is the --underlay-dev; the overlay cannot run over itself`);
}
