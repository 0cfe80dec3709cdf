/**
 * Competitors of a stage: two sites with a VTEP each.
 *
 * A competitor is built on first use. If a daemon has ended, the competitor is rebuilt, a limited
 * number of times, so that a crash costs only one figure.
 */
import type { Running } from '../../test/support/command.js';
import type { Vtepd } from '../../test/support/vtepd.js';
import { eventually, lastLines } from '../../test/support/wait.js';
import { fastd, openVswitch, tinc } from './overlays.js';
import { filledVtepd } from './scraped.js';
import { FLOWS_NETWORK, makeSites, removeSites, type Site, type Stage } from './site.js';
import { type Installed, kernelVtep, type Vtep, vtepdVtep } from './vteps.js';

/** VTEPs of site a and of site b. Traffic flows from a to b. */
const VTEPS: Readonly<Record<string, readonly [Vtep, Vtep]>> = {
  kernel: [kernelVtep, kernelVtep],
  vtepd: [vtepdVtep(), vtepdVtep()],
  'vtepd, off': [vtepdVtep({ flags: '--kernel-path off' }), vtepdVtep({ flags: '--kernel-path off' })],
  'vtepd → kernel': [vtepdVtep(), kernelVtep],
  'kernel → vtepd': [kernelVtep, vtepdVtep()],
  'vtepd, scraped': [filledVtepd, filledVtepd],
  'vtepd, dgram': [vtepdVtep({ engine: 'dgram' }), vtepdVtep({ engine: 'dgram' })],
  'open vswitch': [openVswitch, openVswitch],
  fastd: [fastd, fastd],
  tinc: [tinc, tinc],
};

const READY_MS = 20_000;
/** How often a competitor is built in a stage at most. */
const BUILDS_MAX = 3;

/** A competitor that carries traffic. */
export interface Pair {
  readonly name: string;
  readonly a: Site;
  readonly b: Site;
  /** Daemons of site a, then of site b. */
  readonly daemons: readonly Running[];
  readonly vtepds: readonly Vtepd[];
}

export class Competitor {
  readonly name: string;
  readonly #stage: Stage;
  #pair: Pair | undefined;
  #builds = 0;

  constructor(name: string, stage: Stage) {
    this.name = name;
    this.#stage = stage;
  }

  /**
   * Builds the competitor unless it exists and its daemons run.
   *
   * @param onEnded receives the last output of a daemon that has ended
   * @throws Error when it cannot be built
   */
  async ready(onEnded: (output: string) => void): Promise<Pair> {
    const output = this.#pair ? lastOutput(this.#pair) : '';
    if (output !== '') {
      onEnded(output);
      await this.remove();
    }
    if (this.#pair) return this.#pair;
    if (this.#builds === BUILDS_MAX) throw new Error(`not built again after ${BUILDS_MAX} attempts`);
    this.#builds++;
    this.#pair = await build(this.name, this.#stage);
    return this.#pair;
  }

  async remove(): Promise<void> {
    const pair = this.#pair;
    this.#pair = undefined;
    if (!pair) return;
    await stopAll(pair.daemons);
    await removeSites([pair.a, pair.b]);
  }
}

/** Last output of the daemons that have ended; '' while all run. */
function lastOutput({ daemons }: Pair): string {
  const ended = daemons.filter((daemon) => !daemon.alive);
  return ended.map((daemon) => `${daemon} ended: ${lastLines(daemon.stderr || daemon.stdout)}`).join('; ');
}

async function build(name: string, stage: Stage): Promise<Pair> {
  const [a, b] = await makeSites(stage);
  const installed: Installed[] = [];
  try {
    const [vtepA, vtepB] = VTEPS[name];
    // Both at the same time, because some overlays wait for the other site.
    const both = await Promise.allSettled([vtepA(a, b), vtepB(b, a)]);
    for (const one of both) if (one.status === 'fulfilled') installed.push(one.value);
    for (const one of both) if (one.status === 'rejected') throw one.reason;
    const pair = { name, a, b, daemons: daemonsOf(installed), vtepds: vtepdsOf(installed) };
    await carriesPing(pair);
    await a.user.ip(`route add ${FLOWS_NETWORK} via ${b.address}`);
    return pair;
  } catch (error) {
    await stopAll(daemonsOf(installed));
    await removeSites([a, b]);
    throw error;
  }
}

function daemonsOf(installed: readonly Installed[]): Running[] {
  return installed.flatMap(({ daemons }) => daemons);
}

function vtepdsOf(installed: readonly Installed[]): Vtepd[] {
  return installed.flatMap(({ vtepd }) => (vtepd ? [vtepd] : []));
}

async function carriesPing(pair: Pair): Promise<void> {
  await eventually(
    `${pair.name} to carry a ping`,
    async () => {
      const output = lastOutput(pair);
      if (output !== '') throw new Error(output);
      return (await pair.a.user.outcome(`ping -n -q -c 1 -W 1 ${pair.b.address}`)).code === 0;
    },
    READY_MS,
  );
}

/** Stops daemons with SIGTERM, and with SIGKILL if they do not end. */
async function stopAll(daemons: readonly Running[]): Promise<void> {
  for (const daemon of daemons)
    await daemon.stop().catch(() => daemon.stop('SIGKILL').catch(() => undefined));
}
