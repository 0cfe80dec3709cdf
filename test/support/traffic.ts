/** Traffic between the VMs of a lab: ping, TCP transfers with hashes, TLS, iperf3, UDP. */
import type { Test } from 'tap';
import type { Running } from './command.js';
import type { Lab } from './lab.js';
import { type Namespace, toolPath } from './netns.js';
import { eventually } from './wait.js';

export interface PingResult {
  sent: number;
  received: number;
}

/** Longest wait for the answer to a ping, seconds. */
const ANSWER_S = 5;

/**
 * Sends `count` pings without retransmission. Each ping is a process of its own, because of
 * ping(8): after its first answer it waits only two round trips or its timeout (-W), and counts
 * later answers as lost.
 */
export async function ping(from: Namespace, to: string, count = 3): Promise<PingResult> {
  const total = { sent: 0, received: 0 };
  for (let i = 0; i < count; i++) {
    const { stdout, stderr } = await from.outcome(`ping -n -q -c 1 -W ${ANSWER_S} ${to}`);
    const { sent, received } = pingResult(stdout, stderr);
    total.sent += sent;
    total.received += received;
  }
  return total;
}

/** Asserts that `from` reaches `to` and that every ping is answered. */
export async function assertPing(t: Test, from: Namespace, to: string, count = 3): Promise<void> {
  t.same(await ping(from, to, count), { sent: count, received: count }, `${from.label} pings ${to}`);
}

/** A ping that runs in the background, 50 times per second. */
export class SteadyPing {
  readonly #process: Running;

  private constructor(process: Running) {
    this.#process = process;
  }

  /** Resolves when the first answer has arrived. */
  static async start(from: Namespace, to: string): Promise<SteadyPing> {
    const process = from.start(`ping -n -i 0.02 -W 2 ${to}`);
    await process.untilOutput(/bytes from/);
    return new SteadyPing(process);
  }

  /**
   * Ends the ping and returns its counts. A ping that is in flight at the end is not counted as
   * lost.
   */
  async stop(): Promise<PingResult & { lost: number }> {
    await this.#process.stop('SIGINT');
    const { sent, received } = pingResult(this.#process.stdout, this.#process.stderr);
    const lastAnswered = Math.max(
      ...[...this.#process.stdout.matchAll(/icmp_seq=(\d+)/g)].map(([, n]) => Number(n)),
    );
    const inFlight = sent - lastAnswered <= 1 ? sent - lastAnswered : 0;
    return { sent, received, lost: sent - received - inFlight };
  }
}

function pingResult(stdout: string, stderr: string): PingResult {
  const match = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
  if (match === null) throw new Error(`unexpected output of ping: ${stderr || stdout}`);
  return { sent: Number(match[1]), received: Number(match[2]) };
}

/**
 * Asserts that `bytes` pseudo-random bytes, sent over one TCP connection, arrive with the same
 * hash.
 */
export async function assertTransfer(
  t: Test,
  from: Namespace,
  to: Namespace,
  address: string,
  bytes: number,
  port = 7000,
): Promise<void> {
  const receiver = to.tool('transfer.mjs', 'receive', port);
  await receiver.untilOutput(/listening/);
  const sender = from.tool('transfer.mjs', 'send', address, port, bytes);
  await assertSameBytes(t, sender, receiver, `${bytes}`);
}

/** Like `assertTransfer`, but the transfer lasts as long as `act` runs. */
export async function assertTransferWhile(
  t: Test,
  from: Namespace,
  to: Namespace,
  address: string,
  act: () => Promise<void>,
): Promise<void> {
  const receiver = to.tool('transfer.mjs', 'receive', 7000);
  await receiver.untilOutput(/listening/);
  const sender = from.tool('transfer.mjs', 'send', address, 7000, Number.MAX_SAFE_INTEGER);
  try {
    await act();
    sender.signal('SIGUSR2');
    await assertSameBytes(t, sender, receiver, '[1-9][0-9]*');
  } finally {
    for (const end of [sender, receiver]) await end.stop('SIGKILL');
  }
}

/** @param bytes regular expression of the number of bytes */
async function assertSameBytes(t: Test, sender: Running, receiver: Running, bytes: string): Promise<void> {
  const limitMs = 60_000;
  t.equal(await sender.exit(limitMs), 0, `the sender exits with 0: ${sender.stderr}`);
  t.equal(await receiver.exit(limitMs), 0, `the receiver exits with 0: ${receiver.stderr}`);
  const sent = lastLine(sender.stdout);
  t.match(sent, new RegExp(`^${bytes} [0-9a-f]{64}$`), `${bytes} bytes were sent`);
  t.equal(lastLine(receiver.stdout), sent, 'the same bytes arrived');
}

/** Throughput of one TCP connection, measured by iperf3, bits per second. */
export async function iperf(from: Namespace, to: Namespace, address: string, seconds = 2): Promise<number> {
  const server = to.start('iperf3 --server --one-off --forceflush');
  await server.untilOutput(/listening/i);
  const report = await from.run(`iperf3 --client ${address} --time ${seconds} --json`);
  await server.exit(5_000);
  return JSON.parse(report).end.sum_received.bits_per_second;
}

export interface UdpStreams {
  /** Number of concurrent streams. */
  flows: number;
  seconds: number;
  /** Rate of each stream. */
  bitsPerSecond: number;
  /** True: from `to` to `from`. */
  reverse: boolean;
  /** Payload of a datagram, bytes; 1000 by default. */
  length?: number;
}

/**
 * Sends numbered UDP datagrams with iperf3.
 *
 * @returns number of datagrams sent, and number of datagrams that a later datagram overtook
 */
export async function iperfUdp(
  from: Namespace,
  to: Namespace,
  address: string,
  { flows, seconds, bitsPerSecond, reverse, length = 1000 }: UdpStreams,
): Promise<{ datagrams: number; outOfOrder: number }> {
  const server = to.start('iperf3 --server --one-off --forceflush');
  await server.untilOutput(/listening/i);
  const load = `--udp --length ${length} --parallel ${flows} --bitrate ${bitsPerSecond} --time ${seconds}`;
  const report = await from.run(`iperf3 --client ${address} ${load} ${reverse ? '--reverse' : ''} --json`);
  await server.exit(5_000);
  const streams: { udp: { packets: number; out_of_order: number } }[] = JSON.parse(report).end.streams;
  return {
    datagrams: streams.reduce((total, { udp }) => total + udp.packets, 0),
    outOfOrder: streams.reduce((total, { udp }) => total + udp.out_of_order, 0),
  };
}

/**
 * Response that a TLS client with a certificate received, and the names of both sides'
 * certificates.
 */
export interface TlsExchange {
  client: { bytes: number; sha256: string; serverName: string };
  server: { sha256: string; clientName: string };
}

/**
 * Runs a mutually authenticated TLS session: `to` serves a large response on port 6443, `from`
 * requests it with a client certificate. openssl creates the certificates in `dir`.
 */
export async function tlsExchange(
  from: Namespace,
  to: Namespace,
  address: string,
  bytes: number,
  dir: string,
): Promise<TlsExchange> {
  await makeCertificates(from, dir, address);
  const server = to.tool('tls.mjs', 'serve', dir, 6443, bytes);
  await server.untilOutput(/listening/);
  const client = from.tool('tls.mjs', 'fetch', dir, address, 6443);
  if ((await client.exit(60_000)) !== 0) throw new Error(`TLS client: ${client.stderr}`);
  if ((await server.exit(60_000)) !== 0) throw new Error(`TLS server: ${server.stderr}`);
  return { client: JSON.parse(lastLine(client.stdout)), server: JSON.parse(lastLine(server.stdout)) };
}

async function makeCertificates(where: Namespace, dir: string, address: string): Promise<void> {
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1';
  const signed = `-CA ${dir}/ca.pem -CAkey ${dir}/ca.key`;
  await where.run(`openssl req -x509 ${key} -subj /CN=lab-ca -keyout ${dir}/ca.key -out ${dir}/ca.pem`);
  await where.run(
    `openssl req -x509 ${key} ${signed} -subj /CN=api-server -addext subjectAltName=IP:${address} -keyout ${dir}/server.key -out ${dir}/server.pem`,
  );
  await where.run(
    `openssl req -x509 ${key} ${signed} -subj /CN=worker-1 -keyout ${dir}/client.key -out ${dir}/client.pem`,
  );
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

/** A UDP listener in a VM, with the payloads received so far. */
export class Listener {
  readonly #process: Running;

  private constructor(process: Running) {
    this.#process = process;
  }

  static async start(lab: Lab, vm: Namespace, port: number): Promise<Listener> {
    const process = lab.keep(vm.tool('udp.mjs', 'listen', port));
    await process.untilOutput(/listening/);
    return new Listener(process);
  }

  /** Payloads received so far, in order of arrival. */
  get received(): string[] {
    return this.#process.stdout.split('\n').slice(1, -1);
  }

  /** Waits for a payload. */
  async until(payload: string): Promise<void> {
    await eventually(`${payload} to arrive`, () => this.received.includes(payload));
  }
}

/** Sends one UDP datagram per text. */
export async function sendUdp(
  from: Namespace,
  address: string,
  port: number,
  ...texts: readonly string[]
): Promise<void> {
  await from.run([process.execPath, toolPath('udp.mjs'), 'send', address, String(port), ...texts]);
}
