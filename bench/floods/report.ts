/**
 * The table of the floods and its verdicts.
 */
import { type Rounds, ratiosOf, type Spread, short, spreadOf, table, withSpread } from '../figures.js';
import type { FloodResult, FloodRound, Flow } from './floods.js';

/** Minimum share of the baseline that the known flow must keep. */
const FLOW_MUST = 0.6;
const FLOW_AIM = 0.9;
const MB = 1 << 20;
/** Maximum growth of the daemon's resident memory, MB. */
const MEMORY_MUST_MB = 64;

export interface FloodVerdict {
  /**
   * Ratio within a round: the known flow during vtepd's flood, divided by the known flow during the
   * plain socket's flood.
   */
  ratio: Spread | null;
  /** Names of the measurements that miss their required limit. */
  below: string[];
}

/** @param rounds at least one */
export function verdictOfFlood({ rounds }: FloodResult): FloodVerdict {
  const ratio = ratiosOf(
    rounds.map(({ vtepd }) => vtepd.gbps),
    rounds.map(({ socket }) => socket.gbps),
  );
  const below: string[] = [];
  if (Number((ratio?.median ?? 0).toPrecision(3)) < FLOW_MUST) below.push('flow');
  if (rounds.some(({ entriesBefore, entriesAfter }) => (entriesAfter ?? 0) < entriesBefore))
    below.push('entries');
  if (rounds.some((round) => grownMb(round) > MEMORY_MUST_MB)) below.push('memory');
  return { ratio, below };
}

/** Growth of resident memory, MB; infinite if the daemon has ended. */
function grownMb({ residentBefore, residentAfter }: FloodRound): number {
  return residentAfter === null ? Number.POSITIVE_INFINITY : (residentAfter - residentBefore) / MB;
}

const HEADER = [
  'flood',
  'k/s to socket, vtepd',
  'Gb/s quiet',
  'beside socket',
  'beside vtepd',
  'ratio',
  'p50 µs quiet, socket, vtepd',
  'max ms',
  'lost',
  'entries kept',
  'RSS, MB more',
  'verdict',
];

export function floodTable(results: readonly FloodResult[]): string {
  const measured = results.filter(({ rounds }) => rounds.length > 0);
  if (measured.length === 0) return '';
  const note = `Known flow: TCP ×1 and 64 B round trips in another VNI, with another peer. Must: ratio ≥ ${FLOW_MUST} (aim ${FLOW_AIM}), all entries kept, at most ${MEMORY_MUST_MB} MB more. A round trip of more than 200 ms is lost.`;
  return `${table(HEADER, measured.map(floodLine), [0, 11])}\n\n${note}`;
}

function floodLine(result: FloodResult): string[] {
  const { rounds } = result;
  const { ratio, below } = verdictOfFlood(result);
  const flows = (pick: (flow: Flow) => number | null) =>
    (['quiet', 'socket', 'vtepd'] as const)
      .map((leg) => medianOf(rounds.map((round) => pick(round[leg]))))
      .join(', ');
  const gbps = (leg: 'quiet' | 'socket' | 'vtepd') =>
    withSpread(spreadOf(rounds.map((round) => round[leg].gbps)));
  const before = rounds.reduce((sum, round) => sum + round.entriesBefore, 0);
  const after = rounds.reduce((sum, round) => sum + (round.entriesAfter ?? 0), 0);
  const silent = rounds.filter(({ entriesAfter }) => entriesAfter === null).length;
  const rates = (leg: 'socket' | 'vtepd') => medianOf(rounds.map((round) => round.rates[leg] / 1000));
  return [
    result.title,
    `${rates('socket')}, ${rates('vtepd')}`,
    gbps('quiet'),
    gbps('socket'),
    gbps('vtepd'),
    withSpread(ratio),
    flows(({ p50 }) => p50),
    flows(({ max }) => (max === null ? null : max / 1000)),
    (['quiet', 'socket', 'vtepd'] as const).map((leg) => sumOf(rounds, leg)).join(', '),
    `${after} of ${before}${silent === 0 ? '' : `, ${silent} × no answer`}`,
    withSpread(spreadOf(rounds.map(grownMb))),
    below.length === 0 ? 'ok' : `below must: ${below.join(', ')}`,
  ];
}

function sumOf(rounds: readonly FloodRound[], leg: 'quiet' | 'socket' | 'vtepd'): number {
  return rounds.reduce((sum, round) => sum + round[leg].lost, 0);
}

function medianOf(values: Rounds): string {
  return short(spreadOf(values)?.median ?? Number.NaN);
}
