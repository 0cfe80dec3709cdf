/** What vtepctl prints for people: answers of the API as tables. Pure functions of an answer. */
import type {
  Counters,
  Drops,
  FdbEntry,
  Finding,
  Peer,
  PeerProbe,
  ProbeStep,
  Status,
  Traffic,
  VniCounters,
} from './answers.js';
import { type Cell, formatDuration, formatTable } from './table.js';

export function statusText({ version, ready, uptimeS, underlay, vnis, warnings }: Status): string {
  const { io, port, local, device, offloads } = underlay;
  const facts = [
    `vtepd ${version} ${ready ? 'ready' : 'not ready'}, up ${formatDuration(uptimeS)}`,
    `underlay ${local.join(', ') || '-'}${device === null ? '' : ` dev ${device}`} port ${port} io ${io}`,
    `offloads ${offloads.join(' ') || 'none'}`,
    ...warnings.map(({ code, detail }) => `warning ${code}: ${detail}`),
  ];
  const rows = vnis.map(({ vni, tap, bridge, mac, overlayMtu, peers, fdb }) => [
    vni,
    tap,
    bridge,
    mac,
    overlayMtu,
    peers,
    fdb.static,
    fdb.dynamic,
  ]);
  const header = ['VNI', 'TAP', 'BRIDGE', 'MAC', 'OVERLAY MTU', 'PEERS', 'STATIC', 'DYNAMIC'];
  return `${facts.join('\n')}\n\n${formatTable(header, rows)}`;
}

export function peersText(peers: readonly Peer[], nowMs: number): string {
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

/** How each packet of a search ended, in the words of a progress line. */
const OUTCOMES: Readonly<Record<string, string>> = {
  arrived: 'arrived',
  'too-big': 'too big',
  silent: 'no answer',
  unusable: 'cannot be sent',
};

export function probeStepText(peer: string, { packetLen, outcome }: ProbeStep): string {
  return `probing ${peer}: ${packetLen} bytes ${OUTCOMES[outcome] ?? outcome}`;
}

export function probeText({ peer, summary, means, exact, probes, failed }: PeerProbe): string {
  const measured = means === null ? '' : `${exact ? 'exactly' : 'at least'}, by ${means}, ${probes} packets`;
  const tried = failed.map(({ means, why }) => `${means}: ${why}`);
  const notes = [measured, ...tried].filter((note) => note !== '').map((note) => `  ${note}\n`);
  return `${peer}: ${summary}\n${notes.join('')}`;
}

/** A line each: what, why it hurts, the command that mends it. */
export function doctorText(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'nothing found\n';
  return findings.map(({ code, ...said }) => `${code}: ${sentences(said)}\n`).join('');
}

function sentences({ what, why, cure }: Omit<Finding, 'code'>): string {
  return [what, why, cure].filter((part) => part !== '').join('; ');
}

export function fdbText(entries: readonly FdbEntry[]): string {
  const rows = entries.map(({ mac, peer, type, ageMs }) => [
    mac,
    peer,
    type,
    type === 'static' ? null : formatDuration(ageMs / 1000),
  ]);
  return formatTable(['MAC', 'PEER', 'TYPE', 'AGE'], rows);
}

export function countersText({ vnis, drops, reservedBits }: Counters): string {
  const outside: Cell[][] = [
    ...dropRows(drops),
    ...(reservedBits > 0 ? [['reserved bits', reservedBits, null]] : []),
  ];
  const parts = vnis.map((vni) => formatTable([`VNI ${vni.vni}`, 'COUNT', 'BYTES'], vniRows(vni)));
  if (outside.length > 0) parts.push(formatTable(['of no VNI', 'COUNT', 'BYTES'], outside));
  return parts.join('\n');
}

function vniRows(vni: VniCounters): Cell[][] {
  const { tap, flooded, replicated, fragments, tooBig, mssClamped, peers, others, fdb, drops } = vni;
  return [
    traffic('tap rx', tap.rx),
    traffic('tap tx', tap.tx),
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

/** Only what was dropped: a list of zeros hides the one that matters. */
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
