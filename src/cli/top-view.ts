/**
 * Lines of the `vtepctl top` view: totals, then VNIs with their peers, then drops by reason.
 *
 * Pure functions of the sample, the terminal size and the scroll position.
 */
import type { StatusView } from '../api/views.js';
import { CHURN, type DropRate, type Rate, type Rates, sum } from './rates.js';
import type { Line } from './screen.js';
import { formatCount, formatDuration } from './table.js';
import { clockText } from './vtepctl-text.js';

export interface Sample {
  readonly atMs: number;
  readonly status: StatusView;
  readonly rates: Rates;
  /** Error of the latest reading; '' if the reading succeeded. */
  readonly failure: string;
}

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** Columns of numbers, each after one space; the name column has the remaining width. */
const COLUMNS: readonly [name: string, width: number][] = [
  ['OUT/S', 7],
  ['BIT/S', 7],
  ['IN/S', 7],
  ['BIT/S', 7],
  ['DROP/S', 7],
  ['FDB', 7],
  ['CHURN/S', 7],
];
const NUMBERS_WIDTH = sum(COLUMNS.map(([, width]) => width + 1));
const NAME_MIN = 12;
/** Longest name: two spaces and an IPv6 address of 39 characters. */
const NAME_MAX = 41;
const DROPS_SHOWN = 6;

/**
 * Returns the lines of one screen.
 *
 * @param scrolled number of table rows scrolled off the top; limited to the length of the table
 */
export function screenLines(sample: Sample, { columns, rows }: Size, scrolled: number): Line[] {
  const nameLen = Math.min(Math.max(columns - NUMBERS_WIDTH, NAME_MIN), NAME_MAX);
  const head = summary(sample);
  const table = trafficRows(sample.rates, nameLen);
  const drops = dropLines(sample.rates.drops, Math.min(DROPS_SHOWN, Math.floor(rows / 4)));
  const room = Math.max(1, rows - head.length - drops.length - 2);
  const from = Math.min(scrolled, scrollMost(table.length, room));
  const shown = table.slice(from, from + room);
  const filler = Array.from({ length: Math.max(0, room - shown.length) }, () => ({ text: '' }));
  return [...head, header(nameLen), ...shown, ...filler, ...drops, foot(from, shown.length, table.length)];
}

/** Returns the maximum scroll position for a screen of this size. */
export function scrollLimit(sample: Sample, size: Size): number {
  const lines = screenLines(sample, size, Number.POSITIVE_INFINITY);
  const [, from] = / (\d+)-\d+ of /.exec(lines.at(-1)!.text) ?? [];
  return from === undefined ? 0 : Number(from) - 1;
}

/** Returns the whole view without a size limit, for a file or a pipe. */
export function batchText(sample: Sample): string {
  const table = trafficRows(sample.rates, NAME_MAX);
  const drops = dropLines(sample.rates.drops, sample.rates.drops.length);
  const lines = [...summary(sample), header(NAME_MAX), ...table, ...drops];
  return `${lines.map(({ text }) => text.trimEnd()).join('\n')}\n\n`;
}

function summary({ atMs, status, rates, failure }: Sample): Line[] {
  const { version, ready, uptimeS, warnings } = status;
  const { vnis, busyRatio, drops } = rates;
  const peers = sum(vnis.map((vni) => vni.peers.filter(({ address }) => address !== '').length));
  const state = `vtepd ${version} ${ready ? 'ready' : 'not ready'}, up ${formatDuration(uptimeS)}`;
  const entries = sum(vnis.map(({ fdbEntries }) => fdbEntries));
  const churn = CHURN.map((what) => `${what} ${short(sum(vnis.map(({ fdb }) => fdb[what])))}/s`);
  const alarm = failure || warnings.map(({ code, detail }) => `${code}: ${detail}`)[0];
  const more =
    failure === '' && warnings.length > 1 ? ` (${formatCount(warnings.length - 1, 'more warning')})` : '';
  return [
    {
      text: `${clockText(atMs)} ${state}, ${formatCount(vnis.length, 'VNI')}, ${formatCount(peers, 'peer')}, busy ${Math.round(busyRatio * 100)} %`,
    },
    {
      text: `out ${both(vnis.map((vni) => vni.out))}, in ${both(vnis.map((vni) => vni.in))}, dropped ${short(sum(drops.map(({ perSecond }) => perSecond)))}/s`,
    },
    { text: `FDB ${formatCount(entries, 'entry', 'entries')}, ${churn.join(', ')}` },
    alarm === undefined ? { text: '' } : { text: `${alarm}${more}`, style: 'alarm' },
  ];
}

function both(rates: readonly Rate[]): string {
  const frames = sum(rates.map((rate) => rate.frames));
  return `${short(frames)} frames/s ${short(sum(rates.map(({ bytes }) => bytes)) * 8)}bit/s`;
}

function header(nameLen: number): Line {
  const titles = COLUMNS.map(([title, width]) => title.padStart(width));
  return { text: ['VNI, PEER'.padEnd(nameLen), ...titles].join(' '), style: 'head' };
}

function trafficRows({ vnis }: Rates, nameLen: number): Line[] {
  return vnis.flatMap((vni) => {
    const churn = sum(Object.values(vni.fdb));
    const own = [short(vni.dropped), String(vni.fdbEntries), short(churn)];
    return [
      row(`VNI ${vni.vni}`, nameLen, [...directions(vni.out, vni.in), ...own]),
      ...vni.peers.map((peer) =>
        row(`  ${peer.address || 'others'}`, nameLen, directions(peer.out, peer.in)),
      ),
    ];
  });
}

function directions(out: Rate, into: Rate): string[] {
  return [out.frames, out.bytes * 8, into.frames, into.bytes * 8].map(short);
}

function row(name: string, nameLen: number, numbers: readonly string[]): Line {
  const cells = numbers.map((text, column) => text.padStart(COLUMNS[column][1]));
  return { text: [fitted(name, nameLen), ...cells].join(' ') };
}

/** Shortens a long name in its middle, because addresses of one network differ at their ends. */
function fitted(name: string, length: number): string {
  if (name.length <= length) return name.padEnd(length);
  const tail = Math.floor((length - 2) / 2);
  return `${name.slice(0, length - 2 - tail)}..${name.slice(-tail)}`;
}

function dropLines(drops: readonly DropRate[], most: number): Line[] {
  if (drops.length === 0) return [];
  const lines = drops.slice(0, most).map(({ vni, direction, reason, total, perSecond }) => {
    const text = `${short(perSecond).padStart(7)} ${String(total).padStart(12)}  ${String(vni ?? '-').padEnd(8)}  ${direction}  ${reason}`;
    return perSecond > 0 ? ({ text, style: 'alarm' } as const) : { text };
  });
  const more = drops.length > lines.length ? `, and ${drops.length - lines.length} more` : '';
  return [{ text: ` DROP/S        TOTAL  VNI       WHERE  REASON${more}`, style: 'head' }, ...lines];
}

function foot(from: number, shown: number, all: number): Line {
  const part = shown < all ? `, up and down scroll: ${from + 1}-${from + shown} of ${all}` : '';
  return { text: `q quits${part}`, style: 'head' };
}

function scrollMost(rows: number, room: number): number {
  return Math.max(0, rows - room);
}

/** Formats a number in at most five characters: `0`, `0.4`, `12`, `1.23k`, `45.6M`. */
export function short(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T'];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toFixed(unit === 0 ? fewDigits(value) : threeDigits(value))}${units[unit]}`;
}

/** Returns one decimal for fractions below 10, otherwise none. */
function fewDigits(value: number): number {
  return value < 9.95 && !Number.isInteger(value) ? 1 : 0;
}

function threeDigits(value: number): number {
  if (value < 9.995) return 2;
  return value < 99.95 ? 1 : 0;
}
