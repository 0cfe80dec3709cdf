/** Text output of vtepctl: API responses as tables. Pure functions of a response. */
import type {
  CountersView,
  Drops,
  FdbView,
  Finding,
  PeerView,
  ProbeStep,
  ProbeView,
  Problem,
  ReloadReport,
  StatusView,
  Traffic,
  VniCounters,
  VniView,
} from '../api/views.js';
import { reportText } from '../exchange/report.js';
import { type Cell, formatCount, formatDuration, formatTable } from './table.js';

/** Shown while flows pass through the kernel. */
const UNSEEN =
  'TCP through the kernel: not in the counters of the TAP nor in tcpdump there; use "vtepctl counters" and "vtepctl capture"';

export function statusText(status: StatusView): string {
  const { version, ready, uptimeS, underlay, vnis, warnings, notices } = status;
  const { io, port, local, device, offloads } = underlay;
  const facts = [
    `vtepd ${version} ${ready ? 'ready' : 'not ready'}, up ${formatDuration(uptimeS)}`,
    `underlay ${local.join(', ') || '-'}${device === null ? '' : ` dev ${device}`} port ${port} io ${io}`,
    `offloads ${offloads.join(' ') || 'none'}`,
    ...(offloads.includes('TCX_FLOWS') ? [UNSEEN] : []),
    ...warnings.map((warning) => `warning ${warning.code}: ${reportText(warning)}`),
    ...notices.map((notice) => `notice ${notice.code}: ${reportText(notice)}`),
  ];
  return `${facts.join('\n')}\n\n${vnisText(vnis)}`;
}

/** @param problem response of `/readyz`; undefined: vtepd is ready */
export function readyText(problem: Problem | undefined): string {
  if (problem === undefined) return 'ready\n';
  const { reasons = [problem] } = problem;
  return reasons.map(({ code, detail }) => `not ready: ${code}: ${detail}\n`).join('');
}

export function vnisText(vnis: readonly VniView[]): string {
  const rows = vnis.map(({ vni, state, tap, bridge, address, mac, overlayMtu, peers, fdb }) => [
    vni,
    tap,
    bridge,
    address.length === 0 ? null : address.join(','),
    mac,
    overlayMtu,
    peers,
    fdb.static,
    fdb.dynamic,
    state,
  ]);
  return formatTable(
    ['VNI', 'TAP', 'BRIDGE', 'ADDRESS', 'MAC', 'OVERLAY MTU', 'PEERS', 'STATIC', 'DYNAMIC', 'STATE'],
    rows,
  );
}

/** Returns one line per field, with the names of the API. @param etag ETag; '' for none */
export function vniText({ fdb, ...settings }: VniView, etag: string): string {
  const facts = { ...settings, 'fdb static': fdb.static, 'fdb dynamic': fdb.dynamic, ...(etag && { etag }) };
  const rows = Object.entries(facts).map(([name, value]) => [name, word(value)]);
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

/** Text of a reload without a file: flags are read only at start, so nothing can change. */
const NO_FILE = `nothing changed: vtepd runs without --config, so there is no file to read.
A reload applies changes of that file: VNIs, their settings and peers at once, other settings at the next start.
Flags can change only at the next start; changes made through the API are kept.
`;

export function reloadText({ changed, needsRestart, hasFile }: ReloadReport): string {
  if (!hasFile) return NO_FILE;
  if (changed.length + needsRestart.length === 0) return 'nothing changed\n';
  const lines = [
    ...changed.map((what) => `changed: ${what}`),
    ...needsRestart.map((what) => `takes effect at the next start: ${what}`),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

/** An event; its other fields depend on the type. */
export interface ShownEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/**
 * Formats an event: `14:03:22.123 learned vni 100 mac 02:00:00:00:00:01 peer 192.0.2.11`.
 *
 * @param at time in RFC 3339 format
 */
export function eventText(at: string, { type, ...fields }: ShownEvent): string {
  const present = Object.entries(fields).filter(([, value]) => value !== '');
  return `${clockText(Date.parse(at), true)} ${[type, ...present.map(([name, value]) => `${name} ${word(value)}`)].join(' ')}\n`;
}

/** Formats the time of day in the local time zone. */
export function clockText(ms: number, withMs = false): string {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return '-';
  const time = at.toTimeString().slice(0, 8);
  return withMs ? `${time}.${String(at.getMilliseconds()).padStart(3, '0')}` : time;
}

/** Formats a JSON value as in the configuration. */
function word(value: unknown): string {
  if (value === true) return 'on';
  if (value === false) return 'off';
  if (value === null || value === undefined) return '-';
  if (Array.isArray(value)) return value.map(word).join(',') || '-';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

export function peersText(peers: readonly PeerView[], nowMs: number): string {
  const header = [
    'PEER',
    'PORT',
    'FLOOD',
    'RESOLVED',
    'PATH MTU',
    'LAST SEEN',
    'TX',
    'TX BYTES',
    'RX',
    'RX BYTES',
  ];
  const rows = peers.map(({ address, port, flood, resolved, pathMtu, lastSeen, tx, rx }) => [
    address,
    port,
    flood ? 'on' : 'off',
    resolved,
    pathMtu,
    lastSeen === null ? 'never' : `${formatDuration(Math.max(0, nowMs - Date.parse(lastSeen)) / 1000)} ago`,
    tx.frames,
    tx.bytes,
    rx.frames,
    rx.bytes,
  ]);
  return formatTable(header, rows);
}

/** Outcome of a probe packet → words of the progress line. */
const OUTCOMES: Readonly<Record<string, string>> = {
  arrived: 'arrived',
  'too-big': 'too big',
  silent: 'no answer',
  unusable: 'cannot be sent',
};

export function probeStepText(peer: string, { packetLen, outcome }: ProbeStep): string {
  return `probing ${peer}: ${packetLen} bytes ${OUTCOMES[outcome] ?? outcome}`;
}

export function probeText({ peer, summary, means, exact, probes, failed }: ProbeView): string {
  const measured =
    means === null ? '' : `${exact ? 'exactly' : 'at least'}, by ${means}, ${formatCount(probes, 'packet')}`;
  const tried = failed.map(({ means, why }) => `${means}: ${why}`);
  const notes = [measured, ...tried].filter((note) => note !== '').map((note) => `  ${note}\n`);
  return `${peer}: ${summary}\n${notes.join('')}`;
}

/** Returns one line per finding: problem, consequence, remedy. Notices follow the problems. */
export function doctorText(findings: readonly Finding[]): string {
  const lines = (isNotice: boolean) =>
    findings
      .filter(({ notice = false }) => notice === isNotice)
      .map(({ code, ...texts }) => `${isNotice ? 'notice ' : ''}${code}: ${sentences(texts)}\n`);
  const problems = lines(false);
  return [...(problems.length > 0 ? problems : ['nothing found\n']), ...lines(true)].join('');
}

function sentences({ what, why, cure }: Omit<Finding, 'code' | 'notice'>): string {
  return [what, why, cure].filter((part) => part !== '').join('; ');
}

export function fdbText(entries: readonly FdbView[]): string {
  const rows = entries.map(({ mac, peer, type, ageMs }) => [
    mac,
    peer,
    type,
    type === 'static' ? null : formatDuration(ageMs / 1000),
  ]);
  return formatTable(['MAC', 'PEER', 'TYPE', 'AGE'], rows);
}

/** @param before counters `seconds` ago; if given, the last column has the rates per second */
export function countersText(counters: CountersView, before?: CountersView, seconds = 1): string {
  const parts = counters.vnis.map((vni) => {
    const earlier = before?.vnis.find((candidate) => candidate.vni === vni.vni);
    return part(`VNI ${vni.vni}`, vniRows(vni), before && (earlier ? vniRows(earlier) : []), seconds);
  });
  parts.push(part('without VNI', outsideRows(counters), before && outsideRows(before), seconds));
  return parts.filter((text) => text !== '').join('\n');
}

function part(
  name: string,
  rows: readonly Cell[][],
  before: readonly Cell[][] | undefined,
  seconds: number,
): string {
  if (before === undefined) return formatTable([name, 'COUNT', 'BYTES'], rows);
  const earlier = new Map(before.map(([what, count]) => [what, Number(count)]));
  const withRates = rows.map(([what, count, bytes]) => {
    const perSecond = (Number(count) - (earlier.get(String(what)) ?? 0)) / seconds;
    return [what, count, bytes, Math.round(Math.max(0, perSecond))];
  });
  return formatTable([name, 'COUNT', 'BYTES', '/S'], withRates);
}

function outsideRows({ drops, reservedBits }: CountersView): Cell[][] {
  return [...dropRows(drops), ...(reservedBits > 0 ? [['reserved bits', reservedBits, null]] : [])];
}

function vniRows(vni: VniCounters): Cell[][] {
  const { tap, flooded, replicated, fragments, tooBig, mssClamped, peers, others, fdb, drops } = vni;
  return [
    traffic('tap rx', tap.rx),
    traffic('tap tx', tap.tx),
    ...(tap.queueDropped > 0 ? [['tap queue full, dropped', tap.queueDropped, null] as Cell[]] : []),
    ...peers.flatMap(({ address, tx, rx }) => [traffic(`${address} tx`, tx), traffic(`${address} rx`, rx)]),
    ...(others.tx.frames > 0 ? [traffic('others tx', others.tx)] : []),
    ...(others.rx.frames > 0 ? [traffic('others rx', others.rx)] : []),
    ['flooded broadcast', flooded.broadcast, null],
    ['flooded multicast', flooded.multicast, null],
    ['flooded unknown unicast', flooded.unknownUnicast, null],
    ['replicated', replicated, null],
    ['too big, answered by ICMP', tooBig.icmp, null],
    ['too big, fragmented', tooBig.fragment, null],
    ['too big, dropped', tooBig.drop, null],
    ['fragments', fragments, null],
    ['MSS clamped', mssClamped, null],
    ...Object.entries(fdb)
      .filter(([what]) => what !== 'static' && what !== 'dynamic')
      .map(([what, macs]): Cell[] => [`fdb ${what}`, macs, null]),
    ...dropRows(drops),
  ];
}

/** Returns rows of the drop reasons with a nonzero count. */
function dropRows({ encap, decap }: Drops): Cell[][] {
  const rows = (direction: string, reasons: Readonly<Record<string, number>>): Cell[][] =>
    Object.entries(reasons)
      .filter(([, frames]) => frames > 0)
      .map(([reason, frames]) => [`dropped ${direction} ${reason}`, frames, null]);
  return [...rows('encap', encap), ...rows('decap', decap)];
}

function traffic(name: string, { frames, bytes }: Traffic): Cell[] {
  return [name, frames, bytes];
}
