/**
 * What a path carries, by whatever means gets an answer: each in its order, until one does. When none does, the honest
 * answer is that nobody knows, with what was tried and why it said nothing.
 *
 * Two who ask about one peer at the same time share one search. Called by the API for a person, and by the watch
 * (`watch.ts`) for nobody in particular, with the one means that costs others nothing.
 */
import { IPV6_MIN_MTU } from '../wire/ipv6.js';
import { type Means, type MeansName, MeansUnavailable, type ProbedPeer } from './means.js';
import { type Found, type Outcome, type Probe, type Progress, searchPathMtu } from './search.js';

/** The smallest that a path may be, bytes: what every IPv4 host takes (RFC 791 §3.1), every IPv6 link carries. */
const FLOOR = { 4: 576, 6: IPV6_MIN_MTU } as const;
/** An Ethernet path: taken where no route tells better. */
const USUAL_MTU = 1500;

const STOPPING: Outcome = { kind: 'unusable', why: 'vtepd is stopping' };

export interface ProbeResult {
  /** What answered; undefined: nothing did. */
  readonly means: MeansName | undefined;
  /** Largest IP packet that arrives, bytes; undefined: not known. */
  readonly pathMtu: number | undefined;
  /** One byte more does not arrive. */
  readonly exact: boolean;
  /** Packets sent, by all means. */
  readonly probes: number;
  /** Means that said nothing, and why. */
  readonly failed: readonly { readonly means: MeansName; readonly why: string }[];
}

export class Prober {
  readonly #means: readonly Means[];
  readonly #routeMtu: (address: string) => Promise<number | undefined>;
  #stopped = false;
  readonly #running = new Map<string, { result: Promise<ProbeResult>; watchers: Progress[] }>();

  /**
   * @param means in the order in which they are tried
   * @param routeMtu what can leave this machine toward a peer, bytes, by its canonical text; undefined: no route
   */
  constructor(means: readonly Means[], routeMtu: (address: string) => Promise<number | undefined>) {
    this.#means = means;
    this.#routeMtu = routeMtu;
  }

  /** @param only one means and no other. @param progress told of each packet from now on */
  probe(peer: ProbedPeer, only?: MeansName, progress?: Progress): Promise<ProbeResult> {
    const key = `${peer.text} ${only ?? ''}`;
    const running = this.#running.get(key);
    if (running) {
      if (progress) running.watchers.push(progress);
      return running.result;
    }
    const watchers = progress ? [progress] : [];
    const tellAll: Progress = (packetLen, outcome) => {
      for (const watcher of watchers) watcher(packetLen, outcome);
    };
    const result = this.#tryAll(peer, only, tellAll).finally(() => this.#running.delete(key));
    this.#running.set(key, { result, watchers });
    return result;
  }

  /** Searches under way end with the packet that is out. */
  stop(): void {
    this.#stopped = true;
  }

  async #tryAll(peer: ProbedPeer, only: MeansName | undefined, progress: Progress): Promise<ProbeResult> {
    const failed: { means: MeansName; why: string }[] = [];
    let probes = 0;
    for (const means of this.#means) {
      if (only !== undefined && means.name !== only) continue;
      const found = await this.#try(means, peer, progress);
      probes += found.probes;
      if (found.kind === 'found')
        return { means: means.name, pathMtu: found.mtu, exact: found.exact, probes, failed };
      failed.push({ means: means.name, why: found.why });
    }
    return { means: undefined, pathMtu: undefined, exact: false, probes, failed };
  }

  async #try(means: Means, peer: ProbedPeer, progress: Progress): Promise<Found> {
    try {
      const ceiling = (await this.#routeMtu(peer.text).catch(() => undefined)) ?? USUAL_MTU;
      const open = await means.open(peer);
      const probe: Probe = async (packetLen, patient) =>
        this.#stopped ? STOPPING : open.probe(packetLen, patient);
      return await searchPathMtu(probe, FLOOR[peer.family], ceiling, progress).finally(open.close);
    } catch (error) {
      if (error instanceof MeansUnavailable) return { kind: 'unknown', why: error.message, probes: 0 };
      throw error;
    }
  }
}
