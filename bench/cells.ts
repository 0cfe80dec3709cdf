/**
 * Cells of the lab. A cell is a competitor, its baseline, and the goals for the ratio of the two.
 *
 * `must` and `aim` limit the ratio of vtepd to its baseline within a round: a minimum for
 * throughput, a maximum for round trips. A cell without them is informational.
 */
import type { StageId } from './lab/stages.js';
import type { TaskId } from './lab/tasks.js';

export type LabCell = ReturnType<typeof cell>;

export const OVERLAYS = ['open vswitch', 'fastd', 'tinc'];
/**
 * Percentiles in the order in which a round-trip task returns them. The id of a round-trip cell
 * ends with the name of its percentile.
 */
const PERCENTILES = ['p50', 'p99', 'p99.9'];
const [OFF, SCRAPED, DGRAM] = ['vtepd, off', 'vtepd, scraped', 'vtepd, dgram'];
const [TO, FROM] = ['vtepd → kernel', 'kernel → vtepd'];
const [SPLIT, WHOLE] = ['no tunnel offload', 'superframes whole'];

export const LAB_CELLS: readonly LabCell[] = [
  cell('tcp1', 'tcp', 'device', 'tcp1', 'vtepd', `TCP ×1, ${SPLIT}`, 1.1, 1.5),
  cell('tcp4', 'tcp', 'device', 'tcp4', 'vtepd', `TCP ×4, ${SPLIT}`, 1.1, 1.3),
  cell('tcp1-whole', 'tcp', 'device-whole', 'tcp1', 'vtepd', `TCP ×1, ${WHOLE}`, 0.85, 1),
  cell('tcp4-whole', 'tcp', 'device-whole', 'tcp4', 'vtepd', `TCP ×4, ${WHOLE}`, 0.75, 1),
  cell('off-tcp1', 'off', 'device-whole', 'tcp1', OFF, 'TCP ×1, whole, --kernel-path off'),
  cell('off-tcp4', 'off', 'device-whole', 'tcp4', OFF, 'TCP ×4, whole, --kernel-path off'),
  cell('vm-tcp1', 'vm', 'vm', 'tcp1', 'vtepd', `VMs, TCP ×1, ${SPLIT}`, 1, 1.4),
  cell('vm-tcp4', 'vm', 'vm', 'tcp4', 'vtepd', `VMs, TCP ×4, ${SPLIT}`, 1, 1.2),
  cell('vm-tcp1-whole', 'vm', 'vm-whole', 'tcp1', 'vtepd', `VMs, TCP ×1, ${WHOLE}`, 0.75, 1),
  cell('vm-tcp4-whole', 'vm', 'vm-whole', 'tcp4', 'vtepd', `VMs, TCP ×4, ${WHOLE}`, 0.8, 1),
  cell('off-vm-tcp1', 'off', 'vm-whole', 'tcp1', OFF, 'VMs, TCP ×1, whole, --kernel-path off'),
  cell('off-vm-tcp4', 'off', 'vm-whole', 'tcp4', OFF, 'VMs, TCP ×4, whole, --kernel-path off'),
  cell('jumbo-tcp1', 'jumbo', 'jumbo', 'tcp1', 'vtepd', `MTU 9000, TCP ×1, ${SPLIT}`, 0.8, 1),
  cell('jumbo-tcp4', 'jumbo', 'jumbo', 'tcp4', 'vtepd', `MTU 9000, TCP ×4, ${SPLIT}`, 0.8, 1),
  cell('jumbo-tcp1-whole', 'jumbo', 'jumbo-whole', 'tcp1', 'vtepd', `MTU 9000, TCP ×1, ${WHOLE}`),
  cell('jumbo-tcp4-whole', 'jumbo', 'jumbo-whole', 'tcp4', 'vtepd', `MTU 9000, TCP ×4, ${WHOLE}`),
  cell('to-kernel', 'mixed', 'device', 'tcp1', TO, `${TO}, TCP ×1, ${SPLIT}`, 0.9, 1),
  cell('from-kernel', 'mixed', 'device', 'tcp1', FROM, `${FROM}, TCP ×1, ${SPLIT}`, 0.8, 1),
  cell('to-kernel-whole', 'mixed', 'device-whole', 'tcp1', TO, `${TO}, TCP ×1, ${WHOLE}`),
  cell('from-kernel-whole', 'mixed', 'device-whole', 'tcp1', FROM, `${FROM}, TCP ×1, ${WHOLE}`),
  cell('vm-to-kernel', 'mixed', 'vm', 'tcp1', TO, `${TO}, VMs, TCP ×1, ${SPLIT}`, 0.9, 1),
  cell('vm-from-kernel', 'mixed', 'vm', 'tcp1', FROM, `${FROM}, VMs, TCP ×1, ${SPLIT}`, 0.8, 1),
  cell('vm-to-kernel-whole', 'mixed', 'vm-whole', 'tcp1', TO, `${TO}, VMs, TCP ×1, ${WHOLE}`),
  cell('vm-from-kernel-whole', 'mixed', 'vm-whole', 'tcp1', FROM, `${FROM}, VMs, TCP ×1, ${WHOLE}`),
  cell('udp64', 'frames', 'device-whole', 'udp64', 'vtepd', 'UDP 64 B, one flow', 1.8, 2.5),
  cell('udp1400', 'frames', 'device-whole', 'udp1400', 'vtepd', 'UDP 1,400 B, one flow', 1.5, 2),
  cell('imix', 'frames', 'device-whole', 'imix', 'vtepd', 'UDP IMIX, 64 flows', 0.95, 1.2),
  cell('rtt-p50', 'rtt', 'device-whole', 'rtt', 'vtepd', 'round trip p50, idle', 1, 0.7),
  cell('rtt-p99', 'rtt', 'device-whole', 'rtt', 'vtepd', 'round trip p99, idle'),
  cell('rtt-p99.9', 'rtt', 'device-whole', 'rtt', 'vtepd', 'round trip p99.9, idle', 2, 1),
  cell('rtt-load-p50', 'rtt', 'device-whole', 'rttLoaded', 'vtepd', 'round trip p50, half load', 6, 3),
  cell('rtt-load-p99', 'rtt', 'device-whole', 'rttLoaded', 'vtepd', 'round trip p99, half load'),
  cell('rtt-load-p99.9', 'rtt', 'device-whole', 'rttLoaded', 'vtepd', 'round trip p99.9, half load', 6, 3),
  cell('rtt-scraped-p50', 'rtt', 'device-whole', 'rttScraped', SCRAPED, 'round trip p50, scraped'),
  cell('rtt-scraped-p99.9', 'rtt', 'device-whole', 'rttScraped', SCRAPED, 'round trip p99.9, scraped'),
  cell('dgram-tcp1', 'dgram', 'device-whole', 'tcp1', DGRAM, `--io dgram, TCP ×1, ${WHOLE}`),
  cell('dgram-udp64', 'dgram', 'device-whole', 'udp64', DGRAM, '--io dgram, UDP 64 B, one flow'),
  cell(
    'peers',
    'peers',
    'device-whole',
    'tcp1',
    'vtepd',
    `TCP ×1, ${WHOLE}, against the best other overlay`,
    10,
  ),
];

/** @param id name for `--only` @param contender a competitor of lab/competitors.ts */
function cell(
  id: string,
  group: string,
  stage: StageId,
  task: TaskId,
  contender: string,
  title: string,
  must?: number,
  aim?: number,
) {
  const unit = task.startsWith('tcp') ? 'Gb/s' : task.startsWith('rtt') ? 'µs' : 'k frames/s';
  /** Index into the task's figures. */
  const part = Math.max(0, PERCENTILES.indexOf(id.split('-').at(-1) ?? ''));
  /** Competitors; the one with the best median is the baseline. */
  const baselines = group === 'peers' ? OVERLAYS : ['kernel'];
  return { id, group, stage, task, part, contender, baselines, title, unit, more: unit !== 'µs', must, aim };
}
