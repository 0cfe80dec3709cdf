/**
 * Which pictures docs/performance.md gets, and what is on them.
 */
import { FLOOD_SUITE, LOOKUP_SUITE } from './micro/micro.js';
import { profileChart } from './profile/report.js';
import type { Results } from './results.js';
import { type Spread, spreadOf } from './statistics.js';
import { type Bar, barChart, type Chart, type Group } from './svg.js';
import { type Row, rowsOf } from './verdict.js';

export interface Picture {
  /** File name without `.svg`. */
  name: string;
  /** The section of the page that it belongs to. */
  section: string;
  title: string;
  svg: string;
}

/** Only those that have something to show. */
export function picturesOf(results: Results): Picture[] {
  const rows = rowsOf(results);
  const pictures: Picture[] = [];
  const add = (name: string, section: string, chart: Chart) => {
    if (chart.groups.length > 0) pictures.push({ name, section, title: chart.title, svg: barChart(chart) });
  };
  add('throughput-ratios', 'goals', ratioChart(rows));
  add('tcp', 'goals', tcpChart(rows));
  add('round-trips', 'goals', roundTripChart(rows));
  add('cpu', 'cpu', cpuChart(rows));
  add('peers', 'peers', peerChart(results));
  add('copies', 'copies', copiesChart(results));
  add('profile', 'profile', profileChart(results.profile));
  add('fdb-lookup', 'micro', microChart(results, LOOKUP_SUITE, 'FDB lookup: ns an entry, random order'));
  add('flood', 'micro', microChart(results, FLOOD_SUITE, 'Flooding without a kernel: ns a copy'));
  return pictures;
}

function ratioChart(rows: readonly Row[]): Chart {
  const groups = rows.flatMap((row): Group[] => {
    const { judged, more, isRatio, group, must, aim } = row;
    if (!judged || !more || !isRatio || group === 'peers') return [];
    const ticks = [
      ...(must === undefined ? [] : [{ value: must, kind: 'must' as const }]),
      ...(aim === undefined ? [] : [{ value: aim, kind: 'aim' as const }]),
    ];
    return [{ label: row.title, bars: [bar('vtepd', judged)], ticks }];
  });
  return {
    title: 'Throughput as a ratio to kernel vxlan',
    subtitle: 'median of ratios taken within a round, least to most; more is better',
    series: ['kernel', 'vtepd'],
    groups,
    reference: 1,
  };
}

function tcpChart(rows: readonly Row[]): Chart {
  const shown = rows.filter(({ unit, group }) => unit === 'Gb/s' && group !== 'peers');
  return {
    title: 'TCP, Gb/s delivered',
    subtitle: 'median, least to most; more is better',
    series: ['kernel', 'vtepd'],
    groups: shown.flatMap(both),
  };
}

function roundTripChart(rows: readonly Row[]): Chart {
  return {
    title: 'Round trip, µs',
    subtitle: 'median of rounds, least to most; less is better; logarithmic',
    series: ['kernel', 'vtepd'],
    groups: rows.filter(({ group }) => group === 'rtt').flatMap(both),
    logarithmic: true,
  };
}

function cpuChart(rows: readonly Row[]): Chart {
  const groups = rows.flatMap(({ title, unit, cpu, against }): Group[] =>
    cpu && unit === 'Gb/s' && against === ''
      ? [{ label: title, bars: [bar('kernel', cpu.kernel), bar('vtepd', cpu.vtepd)] }]
      : [],
  );
  return {
    title: 'CPU seconds of the whole box per Gbit of TCP',
    subtitle: 'both ends, generator and receiver included; less is better',
    series: ['kernel', 'vtepd'],
    groups,
  };
}

function both({ title, kernel, vtepd }: Row): Group[] {
  return kernel && vtepd ? [{ label: title, bars: [bar('kernel', kernel), bar('vtepd', vtepd)] }] : [];
}

const PEERS = ['kernel', 'vtepd', 'open vswitch', 'fastd', 'tinc'];

function peerChart({ stages, options }: Results): Chart {
  const series = stages.find(({ id }) => id === 'device-whole')?.series ?? [];
  const groups = PEERS.flatMap((name): Group[] => {
    const found = series.find(({ task, competitor }) => task === 'tcp1' && competitor === name);
    const figures = found?.rounds.flatMap((round) => (round ? [round.figures[0]] : [])) ?? [];
    return figures.length > 0 ? [{ label: name, bars: [bar(name, spreadOf(figures))] }] : [];
  });
  return {
    title: 'TCP ×1 of userspace overlays, Gb/s',
    subtitle: 'no cipher; median, least to most; more is better',
    series: PEERS,
    groups: options.peers ? groups : [],
  };
}

function copiesChart({ copies }: Results): Chart {
  const groups = (copies?.counts ?? []).map((count, i): Group => {
    const bars = Object.entries(copies?.nsPerCopy ?? {}).flatMap(([name, figures]) =>
      figures[i].length > 0 ? [bar(name, spreadOf(figures[i]))] : [],
    );
    return { label: `${count} peer${count === 1 ? '' : 's'}`, bars };
  });
  return {
    title: 'Head-end replication, ns of CPU a copy',
    subtitle: 'sender and VTEP, the frame itself shared by its copies; less is better',
    series: ['kernel', 'vtepd'],
    groups: groups.filter(({ bars }) => bars.length > 0),
  };
}

function microChart({ micro }: Results, suite: string, title: string): Chart {
  const groups = micro
    .filter((result) => result.suite === suite)
    .map(({ name, nsPerOp }): Group => ({ label: name, bars: [bar('vtepd', spreadOf([nsPerOp]))] }));
  return { title, subtitle: 'micro-benchmark; less is better', series: ['kernel', 'vtepd'], groups };
}

function bar(name: string, { median, min, max }: Spread): Bar {
  return { name, value: median, min, max };
}
