/**
 * The cells of the lab: what is compared with what, and how much is wanted of it. `must` and `aim` are ratios of the
 * contender to its baseline, taken within a round: for throughput at least, for round trips at most.
 */
import type { StageId } from './lab/stages.js';
import { P50, P99, P999, type TaskId } from './lab/tasks.js';

export interface LabCell {
  /** What `--only` calls it. */
  readonly id: string;
  readonly group: 'tcp' | 'frames' | 'rtt' | 'vm' | 'flows' | 'mixed' | 'jumbo' | 'peers' | 'dgram';
  readonly title: string;
  readonly unit: string;
  readonly stage: StageId;
  readonly task: TaskId;
  /** Index into the task's figures. */
  readonly part: number;
  readonly contender: string;
  /** The best of them in the median is what counts. */
  readonly baselines: readonly string[];
  /** Is more better? */
  readonly more: boolean;
  readonly must?: number;
  readonly aim?: number;
  /** The cell that it is with an option: where that one is below its must, this one may meet it. */
  readonly optionOf?: string;
  /** How it was measured, in a few words. */
  readonly how: string;
}

const TCP = { unit: 'Gb/s', part: 0, more: true, contender: 'vtepd', baselines: ['kernel'] } as const;
const FRAMES = { ...TCP, unit: 'k frames/s' } as const;
const RTT = { ...TCP, unit: 'µs', more: false } as const;

export const LAB_CELLS: readonly LabCell[] = [
  ...tcpCells(),
  ...frameCells(),
  ...vmCells(),
  ...flowCells(),
  ...mixedCells(),
  ...roundTripCells(),
  ...jumboCells(),
  {
    ...TCP,
    id: 'peers',
    group: 'peers',
    title: 'TCP ×1 against the best other userspace overlay',
    stage: 'device-whole',
    task: 'tcp1',
    baselines: ['open vswitch', 'fastd', 'tinc'],
    must: 4,
    aim: 7,
    how: 'iperf3; Open vSwitch userspace, fastd null, tinc without cipher',
  },
  ...dgramCells(),
];

function tcpCells(): LabCell[] {
  const how = { split: 'iperf3, tunnel offload off on both ends', whole: 'iperf3, veth as it comes' };
  return [
    tcp('tcp1', 'TCP ×1, no tunnel offload', 'device', 'tcp1', 1.0, 1.3, how.split),
    tcp('tcp4', 'TCP ×4, no tunnel offload', 'device', 'tcp4', 0.85, 1.2, how.split),
    tcp('tcp4-whole', 'TCP ×4, superframes whole', 'device-whole', 'tcp4', 0.65, 1.0, how.whole),
    tcp('tcp1-whole', 'TCP ×1, superframes whole', 'device-whole', 'tcp1', 0.5, 1.0, how.whole),
  ];
}

function tcp(
  id: string,
  title: string,
  stage: StageId,
  task: TaskId,
  must: number,
  aim: number,
  how: string,
): LabCell {
  return { ...TCP, id, group: 'tcp', title, stage, task, must, aim, how };
}

function frameCells(): LabCell[] {
  const cell = (id: TaskId, title: string, must: number, aim: number, how: string): LabCell => {
    return { ...FRAMES, id, group: 'frames', title, stage: 'device-whole', task: id, must, aim, how };
  };
  return [
    cell('udp64', 'UDP 64 B, one flow', 1.4, 2, 'blast, delivered frames, every byte compared'),
    cell('udp1400', 'UDP 1,400 B, one flow', 1.0, 1.3, 'blast, delivered frames, every byte compared'),
    cell('imix', 'UDP IMIX, 64 flows', 0.8, 1.0, 'blast, 64, 570, 1,400 B as 7:4:1 in random order'),
  ];
}

function vmCells(): LabCell[] {
  return (['vm', 'vm-whole'] as const).flatMap((stage) =>
    (['tcp1', 'tcp4'] as const).map((task): LabCell => {
      const title = `VM – bridge, TCP ×${task.slice(3)}, ${offloadWords(stage)}`;
      const how = 'iperf3 between VM namespaces behind bridges, MTU 1450, default GSO sizes';
      return { ...TCP, id: idOf('vm', task, stage), group: 'vm', title, stage, task, must: 0.5, aim: 1, how };
    }),
  );
}

/** Those where superframes cross whole once more, with known flows through the kernel, an option. */
function flowCells(): LabCell[] {
  const contender = 'vtepd, flows';
  return [...tcpCells(), ...vmCells()]
    .filter(({ stage }) => stage.endsWith('-whole'))
    .map((cell): LabCell => {
      const title = `flows, ${cell.title}`;
      const how = 'iperf3, --flow-offload on';
      return { ...cell, id: flowIdOf(cell.id), group: 'flows', title, contender, optionOf: cell.id, how };
    });
}

/** @param id tcp4-whole, vm-tcp4-whole @returns flows-tcp4, flows-vm-tcp4 */
function flowIdOf(id: string): string {
  return `flows-${id.replace(/-whole$/, '')}`;
}

/** Against kernel ↔ kernel; each direction with sites of its own. */
function mixedCells(): LabCell[] {
  return (['device', 'device-whole', 'vm', 'vm-whole'] as const).flatMap((stage) =>
    (['vtepd → kernel', 'kernel → vtepd'] as const).map((contender): LabCell => {
      const prefix = contender.startsWith('vtepd') ? 'to-kernel' : 'from-kernel';
      const id = idOf(stage.startsWith('vm') ? `vm-${prefix}` : prefix, '', stage);
      const title = `${contender}${stage.startsWith('vm') ? ', VMs' : ''}, TCP ×1, ${offloadWords(stage)}`;
      const how = 'iperf3, against kernel → kernel';
      return { ...TCP, id, group: 'mixed', title, stage, task: 'tcp1', contender, must: 0.6, aim: 1, how };
    }),
  );
}

function roundTripCells(): LabCell[] {
  const idle = 'blast, one 64 B request at a time';
  const loaded = `${idle}, beside 1,400 B frames at half of what the kernel delivered`;
  const scraped = `${idle}; beside both, a vtepd whose 60,000 FDB entries and /metrics are read every second`;
  const cell = (id: string, title: string, task: TaskId, part: number, how: string): LabCell => {
    return { ...RTT, id, group: 'rtt', title: `round trip ${title}`, stage: 'device-whole', task, part, how };
  };
  const watched = { contender: 'vtepd, scraped' };
  return [
    { ...cell('rtt-p50', 'p50', 'rtt', P50, idle), must: 1.5, aim: 1.1 },
    cell('rtt-p99', 'p99', 'rtt', P99, idle),
    { ...cell('rtt-p99.9', 'p99.9', 'rtt', P999, idle), must: 3, aim: 1.5 },
    cell('rtt-load-p50', 'p50, half load', 'rttLoaded', P50, loaded),
    cell('rtt-load-p99', 'p99, half load', 'rttLoaded', P99, loaded),
    cell('rtt-load-p99.9', 'p99.9, half load', 'rttLoaded', P999, loaded),
    { ...cell('rtt-scraped-p50', 'p50, scraped', 'rttScraped', P50, scraped), ...watched },
    { ...cell('rtt-scraped-p99.9', 'p99.9, scraped', 'rttScraped', P999, scraped), ...watched },
  ];
}

function jumboCells(): LabCell[] {
  return (['jumbo', 'jumbo-whole'] as const).flatMap((stage) =>
    (['tcp1', 'tcp4'] as const).map((task): LabCell => {
      const title = `MTU 9000, TCP ×${task.slice(3)}, ${offloadWords(stage)}`;
      const how = 'iperf3, veth of MTU 9000';
      return { ...TCP, id: idOf('jumbo', task, stage), group: 'jumbo', title, stage, task, how };
    }),
  );
}

/** The portable engine, for information. */
function dgramCells(): LabCell[] {
  const cell = { group: 'dgram', stage: 'device-whole', contender: 'vtepd, dgram' } as const;
  return [
    { ...TCP, ...cell, id: 'dgram-tcp1', title: '--io dgram, TCP ×1', task: 'tcp1', how: 'iperf3' },
    { ...FRAMES, ...cell, id: 'dgram-udp64', title: '--io dgram, UDP 64 B', task: 'udp64', how: 'blast' },
  ];
}

function idOf(prefix: string, task: string, stage: StageId): string {
  return [prefix, task, stage.endsWith('-whole') ? 'whole' : ''].filter(Boolean).join('-');
}

function offloadWords(stage: StageId): string {
  return stage.endsWith('-whole') ? 'superframes whole' : 'no tunnel offload';
}
