/** The API over a data plane that forwards nothing: VNI 100 with two peers, one of them given by name. */
import { pino } from 'pino';
import type { Finding, PeerProbe, ProbeProgress } from '../../src/control/deps.js';
import { buildServer, type ControlDeps, type StatusInfo } from '../../src/control/server.js';
import { makeIpAddress, parseIpAddress } from '../../src/wire/ip-address.js';
import type { PeerAddress } from '../../src/worker/data-plane.js';
import { PlainDataPlane } from './data-plane.js';

export const STARTED_MS = Date.UTC(2026, 0, 1);

export async function controlOverPlainDataPlane() {
  const dataPlane = new PlainDataPlane();
  dataPlane.addVni(100);
  await dataPlane.addPeer(100, {
    address: literal('192.0.2.11', 4789),
    flood: true,
    name: '',
    pathMtu: 1500,
  });
  await dataPlane.addPeer(100, {
    address: literal('2001:db8::12', 8472),
    flood: false,
    name: 'far.example',
    pathMtu: 0,
  });
  const lines: string[] = [];
  const findings: Finding[] = [];
  const deps: ControlDeps = {
    dataPlane,
    status: () => STATUS,
    log: pino({ base: null }, { write: (line: string) => lines.push(line) }),
    resolvePeer,
    doctor: async () => findings,
    probe: async (_vni, peer, progress) => probeNothing(peer.address.text, progress),
  };
  return { dataPlane, lines, findings, server: buildServer(deps) };
}

const STATUS: StatusInfo = {
  version: '0.1.0',
  startedAtMs: STARTED_MS,
  underlay: { local: ['192.0.2.10'], device: '', port: 4789, io: 'memory', offloads: ['UDP_GRO'] },
  warnings: [{ code: 'mtu_unknown', detail: 'no route to 192.0.2.11' }],
  pathMtu: (address) => (address === '192.0.2.11' ? 1500 : undefined),
};

/** The path to .11 carries 1400; nobody knows about others. */
function probeNothing(address: string, progress: ProbeProgress): PeerProbe {
  const overlay = { overlayMtu: 1450, tapMtu: 1450, routeMtu: 1500 };
  progress(576, address === '192.0.2.11' ? 'arrived' : 'silent');
  const nothing = { means: undefined, pathMtu: undefined, exact: false, fits: undefined };
  const failed = [{ means: 'icmp', why: 'no answer' }];
  if (address !== '192.0.2.11')
    return { ...overlay, ...nothing, probes: 1, failed, good: false, summary: 'unknown: nobody answered' };
  const summary = 'path carries 1400; overlay MTU 1350 fits; this VNI has 1450: 100 bytes too large';
  const found = { means: 'icmp', pathMtu: 1400, exact: true, fits: 1350 };
  return { ...overlay, ...found, probes: 9, failed: [], good: false, summary };
}

/** Knows one name. */
async function resolvePeer(host: string, port: number): Promise<PeerAddress> {
  if (host === 'near.example') return literal('192.0.2.77', port);
  if (parseIpAddress(host) !== undefined) return literal(host, port);
  throw new Error(`${host}: name not known`);
}

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
