/**
 * CPU time of processes in nanoseconds, as the scheduler has counted it (`/proc/PID/task/TID/schedstat`, first figure): the
 * ticks of /proc/stat, 10 ms each, are too coarse for a second of light work. An interrupt's work is in it where it
 * interrupts one of these threads; what interrupts an idle core is in nobody's.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Of all threads that these processes have now. One that ends between two calls is missing in the second. */
export function processCpuNs(pids: readonly number[]): number {
  return pids.flatMap((pid) => [...threadCpuNs(pid).values()]).reduce((sum, ns) => sum + ns, 0);
}

/** Of each thread of a process, by its id. */
export function threadCpuNs(pid: number): Map<number, number> {
  const tasks = `/proc/${pid}/task`;
  const schedstat = (tid: string) => readFileSync(`${tasks}/${tid}/schedstat`, 'utf8');
  return new Map(readdirSync(tasks).map((tid) => [Number(tid), Number(schedstat(tid).split(' ')[0])]));
}

/** Processes, kernel threads among them, with such a name. */
export function processesCalled(name: RegExp): number[] {
  const pids = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
  return pids.filter((pid) => name.test(nameOf(pid))).map(Number);
}

/** '' for one that has just ended. */
function nameOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8');
  } catch {
    return '';
  }
}
