/**
 * Who takes part in a stage. A competitor is built when it is first needed; one whose daemon has ended is built anew,
 * a few times, so that a crash costs a figure and not the run.
 */
import type { Running } from '../../test/support/command.js';
import type { Vtepd } from '../../test/support/vtepd.js';
import { eventually, lastLines } from '../../test/support/wait.js';
import { fastd, openVswitch, tinc } from './overlays.js';
import { filledVtepd } from './scraped.js';
import { FLOWS_NETWORK, makeSites, removeSites, type Site, type Stage } from './site.js';
import { type Installed, kernelVtep, type Vtep, vtepdVtep } from './vteps.js';

/** What stands on site a and on site b. Traffic flows from a to b. */
const VTEPS: Readonly<Record<string, readonly [Vtep, Vtep]>> = {
  kernel: [kernelVtep, kernelVtep],
  vtepd: [vtepdVtep(), vtepdVtep()],
  'vtepd, flows': [vtepdVtep({ flags: '--flow-offload on' }), vtepdVtep({ flags: '--flow-offload on' })],
  'vtepd → kernel': [vtepdVtep(), kernelVtep],
  'kernel → vtepd': [kernelVtep, vtepdVtep()],
  'vtepd, scraped': [filledVtepd, filledVtepd],
  'vtepd, dgram': [vtepdVtep({ engine: 'dgram' }), vtepdVtep({ engine: 'dgram' })],
  'open vswitch': [openVswitch, openVswitch],
  fastd: [fastd, fastd],
  tinc: [tinc, tinc],
};

const READY_MS = 20_000;
/** Times that one competitor is built in a stage. */
const BUILDS_MAX = 3;

/** A competitor that carries traffic. */
export interface Pair {
  readonly name: string;
  readonly a: Site;
  readonly b: Site;
  /** Site a's, then site b's. */
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
   * Builds it unless it is there and well.
   *
   * @param onEnded told a daemon's last words if one has ended since
   * @throws Error that says why it can't be built
   */
  async ready(onEnded: (words: string) => void): Promise<Pair> {
    const words = this.#pair ? lastWords(this.#pair) : '';
    if (words !== '') {
      onEnded(words);
      await this.remove();
    }
    if (this.#pair) return this.#pair;
    if (this.#builds === BUILDS_MAX) throw new Error(`given up after ${BUILDS_MAX} attempts`);
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

/** What a daemon said last; '' while all of them live. */
function lastWords({ daemons }: Pair): string {
  const ended = daemons.filter((daemon) => !daemon.alive);
  return ended.map((daemon) => `${daemon} ended: ${lastLines(daemon.stderr || daemon.stdout)}`).join('; ');
}

async function build(name: string, stage: Stage): Promise<Pair> {
  const [a, b] = await makeSites(stage);
  const installed: Installed[] = [];
  try {
    const [vtepA, vtepB] = VTEPS[name];
    // Both at once: a tunnel may wait for its other end.
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
      const words = lastWords(pair);
      if (words !== '') throw new Error(words);
      return (await pair.a.user.outcome(`ping -n -q -c 1 -W 1 ${pair.b.address}`)).code === 0;
    },
    READY_MS,
  );
}

/** Those that do not end when asked are killed. */
async function stopAll(daemons: readonly Running[]): Promise<void> {
  for (const daemon of daemons)
    await daemon.stop().catch(() => daemon.stop('SIGKILL').catch(() => undefined));
}
