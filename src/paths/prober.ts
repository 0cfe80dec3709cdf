/**
 * Searches a path MTU by several means of probing in order.
 *
 * The first means that gets a reply determines the result. If no means gets a reply, the result is
 * unknown and lists each means with the cause of its failure.
 *
 * Concurrent requests for one peer share one search. The API starts a search on a user's request,
 * with all means. The watch (`watch.ts`) starts searches periodically, with the means `vtepd` only,
 * because that means does not burden other systems.
 */
import { IPV6_MIN_MTU } from '../wire/ipv6.js';
import { type Means, type MeansName, MeansUnavailable, type ProbedPeer } from './means.js';
import { type Found, type Outcome, type Probe, type Progress, searchPathMtu } from './search.js';

/** Smallest path MTU, bytes: accepted by every IPv4 host (RFC 791 
3.1), carried by every IPv6 link. */
const FLOOR = { 4: 576, 6: IPV6_MIN_MTU } as const;
/** MTU of an Ethernet path, bytes; used when no route is known. */
const DEFAULT_MTU = 1500;

const STOPPING: Outcome = { kind: 'unusable', why: 'vtepd is stopping' };

export interface ProbeResult {
  /** Means that got a reply; undefined when no means got a reply. */
  readonly means: MeansName | undefined;
  /** Largest IP packet that arrives, bytes; undefined when unknown. */
  readonly pathMtu: number | undefined;
  /** True when one byte more does not arrive. */
  readonly exact: boolean;
  /** Number of packets sent by all means. */
  readonly probes: number;
  /** Means without a result, with the cause. */
  readonly failed: readonly { readonly means: MeansName; readonly why: string }[];
}

export class Prober {
  readonly #means: readonly Means[];
  readonly #routeMtu: (address: string) => Promise<number | undefined>;
  #stopped = false;
  readonly #running = new Map<string, { result: Promise<ProbeResult>; watchers: Progress[] }>();

  /**
   * @param means means of probing, in the order in which they are tried
   * @param routeMtu returns the MTU of the route to an address in canonical form, bytes; undefined
   * without a route
   */
  constructor(means: readonly Means[], routeMtu: (address: string) => Promise<number | undefined>) {
    this.#means = means;
    this.#routeMtu = routeMtu;
  }

  /**
   * @param only the only means to use; undefined for all
   * @param progress called after each packet from now on
   */
  probe(peer: ProbedPeer, only?: MeansName, progress?: Progress): Promise<ProbeResult> {
    const key = `${peer.text} ${only ?? ''}`;
    const running = this.#running.get(key);
    if (running) {
      if (progress) running.watchers.push(progress);
      return running.result;
    }
    const watchers = progress ? [progress] : [];
    const notifyAll: Progress = (packetLen, outcome) => {
      for (const watcher of watchers) watcher(packetLen, outcome);
    };
    const result = this.#tryAll(peer, only, notifyAll).finally(() => this.#running.delete(key));
    this.#running.set(key, { result, watchers });
    return result;
  }

  /** Ends running searches after their current packet. */
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
      const ceiling = (await this.#routeMtu(peer.text).catch(() => undefined)) ?? DEFAULT_MTU;
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
