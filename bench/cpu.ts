/**
 * CPU time of the whole machine, of processes and of threads.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Fields of proc_stat(5), first line: user, nice, system, irq, softirq (includes kernel vxlan). */
const BUSY = [0, 1, 2, 5, 6];
/** USER_HZ of every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** CPU seconds of the whole machine since boot: both hosts and the load generator. */
export function boxCpuSeconds(): number {
  const [line] = readFileSync('/proc/stat', 'utf8').split('\n');
  const ticks = line.trim().split(/\s+/).slice(1).map(Number);
  return BUSY.reduce((sum, field) => sum + ticks[field], 0) / TICKS_PER_SECOND;
}

/** CPU time of all current threads of the processes, ns. */
export function processCpuNs(pids: readonly number[]): number {
  return pids.flatMap((pid) => [...threadCpuNs(pid).values()]).reduce((sum, ns) => sum + ns, 0);
}

/**
 * CPU time of each thread of a process, ns, by thread id.
 *
 * The source is schedstat, because /proc/PID/stat counts in ticks of 10 ms. The time includes
 * interrupts that arrived while the thread ran.
 */
export function threadCpuNs(pid: number): Map<number, number> {
  const tasks = `/proc/${pid}/task`;
  const schedstat = (tid: string) => readFileSync(`${tasks}/${tid}/schedstat`, 'utf8');
  return new Map(readdirSync(tasks).map((tid) => [Number(tid), Number(schedstat(tid).split(' ')[0])]));
}

/** Ids of processes and kernel threads whose name matches. */
export function processesCalled(name: RegExp): number[] {
  const pids = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
  return pids.filter((pid) => name.test(nameOf(pid))).map(Number);
}

/** '' for a process that has just ended. */
function nameOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8');
  } catch {
    return '';
  }
}
