/** Reports about the configuration: state against file, reloads, next start, deprecated settings. */
import type { Settings } from '../config/settings.js';
import type { Report } from '../exchange/report.js';

export function overrides(detail: string): Report {
  return {
    code: 'state_overrides',
    detail,
    why: 'the change made through the API stays in effect',
    cure: 'undo it through the API, or write it into flags or file',
  };
}

export function reloadFailed({ message }: Error): Report {
  return {
    code: 'reload_failed',
    detail: `reload failed: ${message}`,
    why: 'the previous configuration stays in effect',
    cure: 'correct the configuration and reload again',
  };
}

export function restartNeeded(settings: readonly string[]): Report {
  return {
    code: 'restart_needed',
    detail: `${settings.join(', ')}: changed in the configuration`,
    why: 'the previous values stay in effect until the next start',
    cure: 'restart vtepd to apply',
  };
}

export function deprecated({ flowOffload, kernelPath }: Settings): Report[] {
  if (flowOffload === undefined) return [];
  const given = `--flow-offload ${flowOffload ? 'on' : 'off'}`;
  return [
    {
      code: 'deprecated_option',
      detail: `${given} is deprecated; --kernel-path ${kernelPath} applies`,
      why: 'the next version of vtepd refuses the option',
      cure: 'remove it (flowOffload in the file), and set --kernel-path if the default auto does not suit',
    },
  ];
}
