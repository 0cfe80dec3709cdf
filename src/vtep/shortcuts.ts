/**
 * Composition of the shortcuts around the host's stack: superframes, and the flows behind them.
 */
import type { Shim } from '../abi/binding.js';
import type { Settings } from '../config/settings.js';
import type { Handle } from '../controller/handle.js';
import type { Offloads } from '../exchange/offloads.js';
import { type KnownFlows, openKnownFlows } from '../flows/known-flows.js';
import { HostRules } from '../host/host-rules.js';
import type { Machine } from '../host/machine.js';
import type { Logger } from '../log/log.js';
import type { Paths } from '../paths/paths.js';
import { KernelPath } from '../superframes/kernel-path.js';
import { type ReportShortcut, ShortcutStatus } from '../superframes/shortcut-status.js';
import { Superframes } from '../superframes/superframes.js';
import type { TunnelOffload } from '../superframes/tunnel-offload.js';

export interface ShortcutParts {
  readonly shim: Shim;
  readonly machine: Machine;
  readonly paths: Paths;
  readonly tunnel: TunnelOffload;
  readonly offloads: Offloads;
  readonly handle: Handle;
  /** Returns the index of the TAP that the configuration names; 0: it is not in this namespace. */
  readonly indexOf: (tap: string) => number;
  readonly log: Logger;
  readonly report: ReportShortcut;
  /** Called before the first flow passes through the kernel. */
  readonly openingFlows: () => void;
  /** Requests a refresh of the superframes. */
  readonly due: () => void;
}

export interface Shortcuts {
  readonly superframes: Superframes;
  readonly flows: KnownFlows;
}

/** @param mode effective `--kernel-path` */
export function openShortcuts(settings: Settings, mode: 'auto' | 'on', parts: ShortcutParts): Shortcuts {
  const { report, log, openingFlows: opening } = parts;
  const kernelPath = new KernelPath(mode, new HostRules(parts.shim));
  const status = new ShortcutStatus('flows', mode, report, log);
  const flows = openKnownFlows(settings, { ...parts, kernelPath, status, opening });
  const superframes = new Superframes({
    ...parts,
    kernelPath,
    sending: sendingOf(settings),
    follower: flows,
  });
  return { superframes, flows };
}

/** Source ports of small frames are some of those that the kernel chooses for flows. */
function sendingOf({ sourcePorts, local, fwmark: mark }: Settings) {
  return { sourcePorts, mark, isUnbound: !local.some(({ family }) => family === 4) };
}
