/**
 * Random sequence of changes through the API of one daemon, chosen by a seeded generator.
 *
 * It adds, changes and removes VNIs, peers and FDB entries; reads counters, lists and the doctor;
 * opens and closes captures and event streams; and occasionally ends the data-plane thread.
 *
 * An answer with a status that the call does not allow is a fault.
 */
import { type IncomingMessage, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../../test/support/wait.js';
import { learn } from '../lab/blast.js';
import { type Host, LEARN_VNI, TCP_VNI } from './place.js';

/** Mean pause between two changes. */
const PAUSE_MS = 40;
const FIRST_VNI = 200;
const VNIS = 20;
const RESTORED_MS = 10_000;
const STREAM_MS = 1500;
/** Mean time between two kills of the data-plane thread. */
const KILL_S = 25;

export interface Churned {
  /** Number of calls by kind. */
  calls: Record<string, number>;
  /** Answers with a wrong status, one line each. */
  wrong: string[];
  /** For each kill of the data-plane thread, time until the daemon was ready again, ms. */
  restored: number[];
  /** Datagrams sent from the other host without its daemon. */
  learned: number;
}

export class Churn {
  readonly result: Churned = { calls: {}, wrong: [], restored: [], learned: 0 };
  readonly #host: Host;
  readonly #other: Host;
  readonly #random: () => number;
  readonly #kills: boolean;

  /**
   * @param random number from 0 to below 1
   * @param kills true to end the data-plane thread from time to time
   */
  constructor(host: Host, other: Host, random: () => number, kills: boolean) {
    this.#host = host;
    this.#other = other;
    this.#random = random;
    this.#kills = kills;
  }

  async run(untilMs: number): Promise<void> {
    let killAtMs = performance.now() + this.#pause(KILL_S * 1000);
    while (performance.now() < untilMs) {
      if (this.#kills && performance.now() >= killAtMs) {
        await this.#endWorker();
        killAtMs = performance.now() + this.#pause(KILL_S * 1000);
      }
      const [kind, change] = CHANGES[Math.floor(this.#random() * CHANGES.length)];
      this.result.calls[kind] = (this.result.calls[kind] ?? 0) + 1;
      try {
        await change(this);
      } catch (error) {
        this.result.wrong.push(`${kind}: ${(error as Error).message}`);
      }
      await delay(this.#pause(PAUSE_MS));
    }
    await this.#removeAll();
  }

  /** A random pause from 0.5 to 1.5 times the mean, ms. */
  #pause(meanMs: number): number {
    return meanMs * (0.5 + this.#random());
  }

  int(below: number): number {
    return Math.floor(this.#random() * below);
  }

  /** @param allowed status codes @throws Error for any other status */
  async call<T = unknown>(
    method: string,
    path: string,
    allowed: readonly number[],
    body?: unknown,
  ): Promise<T> {
    const answer = await this.#host.vtepd.call<T>(method, path, body);
    if (allowed.includes(answer.status)) return answer.body;
    throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body).slice(0, 200)}`);
  }

  /** Opens a stream, reads it for a random time or not at all, and closes it. */
  async stream(path: string, isRead: boolean): Promise<void> {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const asked = request({ socketPath: this.#host.vtepd.socket, path, agent: false }, resolve);
      asked.on('error', reject);
      asked.end();
    });
    answer.on('error', () => undefined);
    if (isRead) answer.resume();
    await delay(this.int(STREAM_MS));
    answer.destroy();
    // 409: the daemon allows one capture at a time.
    const allowed = path.includes('capture') ? [200, 409] : [200];
    if (!allowed.includes(answer.statusCode ?? 0)) throw new Error(`GET ${path}: ${answer.statusCode}`);
  }

  /** Sends frames of `count` MACs from the address of the other host's VTEP. */
  async learn(count: number): Promise<void> {
    this.result.learned += count;
    await learn(this.#other.space, this.#host.address, LEARN_VNI, count);
  }

  get otherAddress(): string {
    return this.#other.address;
  }

  async #endWorker(): Promise<void> {
    const startedMs = performance.now();
    this.#host.vtepd.process.signal('SIGUSR2');
    const isReady = async () =>
      (await this.#host.vtepd.get('/readyz').catch(() => undefined))?.status === 200;
    try {
      await eventually('the thread to end', async () => !(await isReady()), 1000).catch(() => undefined);
      await eventually('the daemon to be ready again', isReady, RESTORED_MS);
      this.result.restored.push(performance.now() - startedMs);
    } catch (error) {
      this.result.wrong.push(`worker: ${(error as Error).message}`);
    }
  }

  /** Removes all added VNIs and peers, so that descriptors can be compared with the start. */
  async #removeAll(): Promise<void> {
    for (let i = 0; i < VNIS; i++) await this.call('DELETE', `/v1/vnis/${FIRST_VNI + i}`, [204, 404]);
    for (let i = 0; i < ABSENT_PEERS; i++)
      await this.call('DELETE', `/v1/vnis/${TCP_VNI}/peers/${absentPeer(i)}`, [204, 404]);
  }
}

const ABSENT_PEERS = 8;

/** Address of an absent peer, in the network of the underlay. */
function absentPeer(index: number): string {
  return `192.168.80.${100 + index}`;
}

const someVni = (churn: Churn) => FIRST_VNI + churn.int(VNIS);
const someMac = (churn: Churn) => `02:50:00:00:00:${churn.int(100).toString(16).padStart(2, '0')}`;

type Change = readonly [kind: string, change: (churn: Churn) => Promise<unknown>];

const CHANGES: readonly Change[] = [
  [
    'add a VNI',
    (churn) =>
      churn.call('POST', '/v1/vnis', [201, 409], { vni: someVni(churn), peers: [churn.otherAddress] }),
  ],
  ['remove a VNI', (churn) => churn.call('DELETE', `/v1/vnis/${someVni(churn)}`, [204, 404])],
  [
    'change a VNI',
    (churn) => churn.call('PATCH', `/v1/vnis/${someVni(churn)}`, [200, 404], { ageing: 10 + churn.int(300) }),
  ],
  [
    'add a peer',
    (churn) =>
      churn.call('POST', `/v1/vnis/${TCP_VNI}/peers`, [201, 409], {
        address: absentPeer(churn.int(ABSENT_PEERS)),
      }),
  ],
  [
    'remove a peer',
    (churn) =>
      churn.call('DELETE', `/v1/vnis/${TCP_VNI}/peers/${absentPeer(churn.int(ABSENT_PEERS))}`, [204, 404]),
  ],
  [
    'put an FDB entry',
    (churn) =>
      churn.call('PUT', `/v1/vnis/${TCP_VNI}/fdb/${someMac(churn)}`, [204], { peer: churn.otherAddress }),
  ],
  [
    'delete an FDB entry',
    (churn) => churn.call('DELETE', `/v1/vnis/${TCP_VNI}/fdb/${someMac(churn)}`, [204, 404]),
  ],
  ['flush learned entries', (churn) => churn.call('DELETE', `/v1/vnis/${LEARN_VNI}/fdb?type=dynamic`, [200])],
  ['learn', (churn) => churn.learn(1 + churn.int(2000))],
  ['list the FDB', (churn) => churn.call('GET', `/v1/vnis/${LEARN_VNI}/fdb?limit=1000`, [200])],
  ['status', (churn) => churn.call('GET', '/v1/status', [200])],
  ['counters', (churn) => churn.call('GET', '/v1/counters', [200])],
  ['scrape', (churn) => churn.call('GET', '/metrics', [200])],
  ['doctor', (churn) => churn.call('GET', '/v1/doctor', [200])],
  ['reload', (churn) => churn.call('POST', '/v1/reload', [200])],
  [
    'capture',
    (churn) => churn.stream(`/v1/capture?snaplen=96&point=${POINTS[churn.int(2)]}`, churn.int(4) > 0),
  ],
  ['events', (churn) => churn.stream('/v1/events', churn.int(4) > 0)],
];

const POINTS = ['overlay', 'underlay'];
