/**
 * Control API over a data plane that forwards nothing.
 *
 * VNI 100 has two peers; one of them is configured by name.
 */
import { Readable } from 'node:stream';
import { pino } from 'pino';
import type { Capture, Finding, PeerProbe, ProbeProgress } from '../../src/api/deps.js';
import { buildServer, type ControlDeps, type StatusInfo } from '../../src/api/server.js';
import { readPeerBody, readVniBody } from '../../src/config/body.js';
import { DataPlaneError, type PeerAddress } from '../../src/exchange/data-plane.js';
import { Events } from '../../src/exchange/events.js';
import type { NotReadyReason } from '../../src/exchange/report.js';
import { makeIpAddress, parseIpAddress } from '../../src/wire/ip-address.js';
import { PlainConfiguration } from './configuration.js';
import { PlainDataPlane } from './data-plane.js';

export const STARTED_MS = Date.UTC(2026, 0, 1);

/**
 * @param token bearer token that the API requires; '' for none
 * @param level log level
 */
export async function controlOverPlainDataPlane({ token = '', level = 'info' } = {}) {
  const dataPlane = new PlainDataPlane();
  const configuration = new PlainConfiguration(dataPlane, resolve);
  await configuration.addVni(readVniBody({ vni: 100 }, 4789));
  await configuration.addPeer(100, readPeerBody({ address: '192.0.2.11' }, 4789));
  await configuration.addPeer(100, readPeerBody({ address: 'far.example', port: 8472, flood: false }, 4789));
  const lines: string[] = [];
  const findings: Finding[] = [];
  const reasons: NotReadyReason[] = [];
  const captures = new PlainCaptures();
  const events = new Events();
  const deps: ControlDeps = {
    dataPlane,
    configuration,
    reload: () => configuration.reload(),
    events,
    capture: captures,
    token,
    status: () => STATUS,
    notReady: () => reasons,
    log: pino({ base: null, level }, { write: (line: string) => lines.push(line) }),
    doctor: async () => findings,
    probe: async (_vni, peer, progress) => fixedProbe(peer.address.text, progress),
  };
  const server = buildServer(deps);
  return { dataPlane, configuration, events, captures, lines, findings, reasons, server, deps };
}

/**
 * Captures of fixed content, one at a time: a file header and three packets of 4 bytes. Without a
 * limit the stream stays open until the reader closes it; with a limit it ends after the packets.
 */
class PlainCaptures {
  readonly asked: object[] = [];
  running = 0;

  async open(options: { readonly limit?: number }): Promise<Capture> {
    if (this.running > 0) throw new DataPlaneError('capture_busy', 'a capture is running already');
    this.asked.push(options);
    this.running++;
    const stream = new Readable({ read() {} });
    stream.push(PCAP);
    if (options.limit !== undefined) stream.push(null);
    return {
      stream,
      close: async () => {
        this.running--;
        stream.destroy();
      },
    };
  }
}

/** File header, then three packets. */
export const PCAP = Buffer.concat([
  Buffer.from('d4c3b2a1020004000000000000000000000004000100000'.padEnd(48, '0'), 'hex'),
  ...[1, 2, 3].map((n) => Buffer.from(`00000000000000000400000004000000${`0${n}`.repeat(4)}`, 'hex')),
]);

const STATUS: StatusInfo = {
  version: '0.1.0',
  startedAtMs: STARTED_MS,
  uptimeS: 60,
  epochMs: (ms) => ms,
  underlay: { local: ['192.0.2.10'], device: '', port: 4789, io: 'batch', offloads: ['UDP_GRO'] },
  warnings: [
    {
      code: 'overlay_mtu_too_large',
      detail: '--mtu 9000 exceeds 1450',
      why: 'larger packets are lost',
      cure: 'use --mtu auto',
    },
  ],
  notices: [
    {
      code: 'queues_unsteered',
      detail: 'vtep100 has no program',
      why: 'frames may be reordered',
      cure: 'run with CAP_BPF',
    },
  ],
  pathMtu: (address) => (address === '192.0.2.11' ? 1500 : undefined),
};

/** The path to .11 carries 1400 bytes; all other paths are unknown. */
function fixedProbe(address: string, progress: ProbeProgress): PeerProbe {
  const overlay = { overlayMtu: 1450, tapMtu: 1450, routeMtu: 1500 };
  progress(576, address === '192.0.2.11' ? 'arrived' : 'silent');
  const nothing = { means: undefined, pathMtu: undefined, exact: false, fits: undefined };
  const failed = [{ means: 'icmp', why: 'no answer' }];
  if (address !== '192.0.2.11')
    return { ...overlay, ...nothing, probes: 1, failed, good: false, summary: 'unknown: no answer' };
  const summary = 'path carries 1400; overlay MTU 1350 fits; this VNI has 1450: 100 bytes too large';
  const found = { means: 'icmp', pathMtu: 1400, exact: true, fits: 1350 };
  return { ...overlay, ...found, probes: 9, failed: [], good: false, summary };
}

/** Resolves addresses and three names, one of which has no address. */
function resolve(host: string, port: number): readonly PeerAddress[] {
  const addresses = NAMES[host] ?? (parseIpAddress(host) === undefined ? undefined : [host]);
  if (addresses) return addresses.map((text) => literal(text, port));
  throw new DataPlaneError('peer_unresolved', `${host}: name not known`);
}

const NAMES: Readonly<Record<string, readonly string[] | undefined>> = {
  'far.example': ['2001:db8::12'],
  'near.example': ['192.0.2.77', '192.0.2.78'],
  'lost.example': [],
};

function literal(text: string, port: number): PeerAddress {
  const { family, bytes, scope } = parseIpAddress(text)!;
  return {
    family,
    bytes,
    port,
    scopeId: scope === '' ? 0 : 7,
    text: makeIpAddress(family, bytes, scope).text,
  };
}
