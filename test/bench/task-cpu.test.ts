/**
 * CPU time of processes: what a process has computed is there to the nanosecond, and who works for nobody in particular
 * is found by name.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { processCpuNs, processesCalled } from '../../bench/cpu.js';

t.test('what a process computes is counted, and that of two is a sum', async (t) => {
  const before = processCpuNs([process.pid]);
  const used = process.cpuUsage();
  while (process.cpuUsage(used).user + process.cpuUsage(used).system < 20_000);
  const spent = processCpuNs([process.pid]) - before;
  t.ok(spent > 10e6, `${spent} ns, of 20 ms but for what the scheduler has not added yet`);
  t.ok(processCpuNs([process.pid, process.pid]) > processCpuNs([process.pid]) * 1.5);
  t.equal(processCpuNs([]), 0);
});

t.test('processes are found by name', async (t) => {
  const name = readFileSync('/proc/self/comm', 'utf8').trim();
  t.ok(processesCalled(new RegExp(`^${name}$`, 'm')).includes(process.pid));
  t.same(processesCalled(/^nobody is called so$/), []);
});
