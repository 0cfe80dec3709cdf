/**
 * CPU time of processes, in nanoseconds, and processes found by name.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { processCpuNs, processesCalled } from '../../bench/cpu.js';

t.test('the CPU time of a process is counted, and the times of several processes are added', async (t) => {
  const before = processCpuNs([process.pid]);
  const used = process.cpuUsage();
  while (process.cpuUsage(used).user + process.cpuUsage(used).system < 20_000);
  const spent = processCpuNs([process.pid]) - before;
  t.ok(spent > 10e6, `${spent} ns of 20 ms; the scheduler adds the last part later`);
  t.ok(processCpuNs([process.pid, process.pid]) > processCpuNs([process.pid]) * 1.5);
  t.equal(processCpuNs([]), 0);
});

t.test('processes are found by name', async (t) => {
  const name = readFileSync('/proc/self/comm', 'utf8').trim();
  t.ok(processesCalled(new RegExp(`^${name}$`, 'm')).includes(process.pid));
  t.same(processesCalled(/^no such process$/), []);
});
