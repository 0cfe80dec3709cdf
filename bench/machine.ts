/**
 * What the figures were measured on, and what the whole box spent meanwhile.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { delimiter, join } from 'node:path';
import { outcome } from '../test/support/command.js';

export interface Machine {
  cpu: string;
  cores: number;
  kernel: string;
  node: string;
  v8: string;
  iperf3: string;
  compiler: string;
  iproute2: string;
  commit: string;
}

export async function describeMachine(): Promise<Machine> {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    kernel: release(),
    node: process.version,
    v8: process.versions.v8,
    iperf3: await firstLine('iperf3 --version'),
    compiler: await firstLine('cc --version'),
    iproute2: await firstLine('ip -Version'),
    commit: await firstLine('git rev-parse --short HEAD'),
  };
}

/** Is there such a program, in PATH or where those of root lie? */
export function isInstalled(program: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** First line of what a command says; 'not there' when it can't be run. */
async function firstLine(command: string): Promise<string> {
  try {
    const { code, stdout } = await outcome(command);
    return code === 0 ? stdout.split('\n')[0].trim() : 'not there';
  } catch {
    return 'not there';
  }
}

/** proc(5), /proc/stat, in the order of the first line; a tick is 1/100 s on every Linux that Node runs on. */
const BUSY = [0, 1, 2, 5, 6]; // user, nice, system, irq, softirq: all but idle, iowait, steal and guests (in user)
const TICKS_PER_SECOND = 100;

/** CPU seconds that everything on the box has used since it started: kernel vxlan's cost hides in softirq. */
export function boxCpuSeconds(): number {
  const [line] = readFileSync('/proc/stat', 'utf8').split('\n');
  const ticks = line.trim().split(/\s+/).slice(1).map(Number);
  return BUSY.reduce((sum, field) => sum + ticks[field], 0) / TICKS_PER_SECOND;
}
