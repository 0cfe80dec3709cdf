/**
 * A profile as a table and as a picture: one column, or one bar, for each load and side.
 */
import { short } from '../statistics.js';
import type { Chart } from '../svg.js';
import { table } from '../table.js';
import { type Kind, PARTS, type Part } from './parts.js';
import { type Counts, partTotal, totalOf } from './perf.js';
import type { ProfileResult, SideProfile } from './profile.js';

/** What a part is, in the order of the table. */
const NAMES: Record<Part, string> = {
  epoll_wait: 'epoll_wait: waiting, to be woken',
  readv: 'readv: a frame from the TAP',
  JavaScript: 'JavaScript',
  Node: 'Node, V8: calls into C',
  shim: 'shim: headers, segments, checksums',
  sendmmsg: 'sendmmsg: to the underlay',
  recvmmsg: 'recvmmsg: from the underlay',
  writev: 'writev: to the TAP, or the outer TAP',
  rest: 'interrupts, and what has no stack',
};
/** Kinds are shown where they are at least this share of somebody's time. */
const KIND_SHARE_MIN = 0.02;
const KINDS: readonly (readonly [Kind, string])[] = [
  ['copy', '– of it copies'],
  ['deliver', '– of it the stack that receives'],
];

export function profileTable({ loads, seconds }: ProfileResult): string {
  const columns = loads.flatMap(({ title, sides, unit }) => sides.map((side) => ({ title, side, unit })));
  const header = ['', ...columns.map(({ title, side }) => `${title}, ${side.name}`)];
  const line = (name: string, value: (side: SideProfile) => number) => [
    name,
    ...columns.map(({ side }) => short(value(side))),
  ];
  const lines = [
    ['unit', ...columns.map(({ unit }) => unit)],
    line('thousand units/s', ({ unitsPerSecond }) => unitsPerSecond / 1000),
    line('**CPU, ns a unit**', ({ nsPerUnit }) => nsPerUnit),
    ...PARTS.flatMap((part) => [
      line(NAMES[part], (side) => side.nsPerUnit * share(side.counts, part)),
      ...KINDS.flatMap(([kind, name]) => {
        const shareOf = ({ counts }: SideProfile) => counts[part][kind] / totalOf(counts);
        const isShown = columns.some(({ side }) => shareOf(side) >= KIND_SHARE_MIN);
        return isShown ? [line(name, (side) => side.nsPerUnit * shareOf(side))] : [];
      }),
    ]),
    ['samples', ...columns.map(({ side }) => `${totalOf(side.counts)}`)],
  ];
  return `${table(header, lines)}\n\n${seconds} s each, CPU time of the data-plane thread.`;
}

export function profileChart(profile: ProfileResult | undefined): Chart {
  const groups = (profile?.loads ?? []).flatMap(({ title, sides }) =>
    sides.map(({ name, counts }) => ({
      label: `${title}, ${name}`,
      bars: PARTS.map((part) => {
        const value = share(counts, part) * 100;
        return { name: part, value, min: value, max: value };
      }),
    })),
  );
  return {
    title: 'Where the time of a data-plane thread goes, per cent',
    subtitle: 'saturated; a system call with all of the network that runs inside it',
    series: PARTS,
    groups,
    stacked: true,
  };
}

function share(counts: Counts, part: Part): number {
  return partTotal(counts, part) / totalOf(counts);
}
