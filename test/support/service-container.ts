/**
 * A machine with a real systemd as its first process, in a lab's network namespace: systemd-nspawn(1) over the /usr of this
 * machine, everything else fresh and in memory. Boots in a second or two; nothing of it is left.
 *
 *     /opt/vtepd        this project, read-only
 *     /usr/local/bin    vtepd, vtepctl, node
 *     /etc/systemd/system, /etc/sysusers.d, /etc/vtepd
 */
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Outcome, outcome, type Running, run, start } from './command.js';
import type { Namespace } from './netns.js';
import { eventually, lastLines } from './wait.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const BOOT_MS = 60_000;
/** No unit but those that are asked for, and what they need. */
const EMPTY_TARGET = '[Unit]\nDescription=Nothing but what the lab starts\nDefaultDependencies=no\n';

export interface ContainerSpec {
  /** Path in the container → text. */
  readonly files: Readonly<Record<string, string>>;
  /** Path in the container → path here. */
  readonly binds: Readonly<Record<string, string>>;
  /** Programs that are to be there as well, in /opt. */
  readonly tools: readonly string[];
}

export class ServiceContainer {
  readonly #name: string;
  readonly #nspawn: Running;
  readonly #leader: number;

  private constructor(name: string, nspawn: Running, leader: number) {
    this.#name = name;
    this.#nspawn = nspawn;
    this.#leader = leader;
  }

  /** @param dir of the lab, for files @throws Error with what systemd-nspawn said */
  static async boot(host: Namespace, dir: string, spec: ContainerSpec): Promise<ServiceContainer> {
    const binds = [...systemFiles(dir, spec), ...programs(dir, spec.tools)];
    const command = [
      'systemd-nspawn',
      '--quiet',
      '--boot',
      '--directory=/',
      '--volatile=yes',
      '--register=no',
      '--keep-unit',
      '--console=pipe',
      `--machine=${host.name}`,
      `--network-namespace-path=/run/netns/${host.name}`,
      // What a machine's own systemd has as well.
      '--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_BPF',
      '--system-call-filter=bpf',
      ...binds,
      'systemd.unit=lab.target',
    ];
    // Cgroups as Debian 12 has them, whatever this machine has; and several may share its /usr.
    const env = { SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1', SYSTEMD_NSPAWN_LOCK: '0' };
    const nspawn = start(command, { env });
    const leader = await eventually('systemd to run', () => firstChild(nspawn), BOOT_MS);
    const container = new ServiceContainer(host.name, nspawn, leader);
    try {
      await container.#settled();
    } catch (error) {
      await container.stop();
      throw error;
    }
    return container;
  }

  /** What this process's environment says, about Node above all, does not hold in there. */
  get #inside(): string[] {
    return ['nsenter', '--all', `--target=${this.#leader}`, 'env', '-i', `PATH=${PATH}`];
  }

  /** Runs a command in it. */
  outcome(command: string | readonly string[], limitMs = 20_000): Promise<Outcome> {
    const words = typeof command === 'string' ? command.split(' ') : command;
    return outcome([...this.#inside, ...words], { limitMs });
  }

  /** The same. @throws Error unless it exits with 0 */
  run(command: string | readonly string[]): Promise<string> {
    const words = typeof command === 'string' ? command.split(' ') : command;
    return run([...this.#inside, ...words]);
  }

  start(command: readonly string[]): Running {
    return start([...this.#inside, ...command]);
  }

  /** A property of a unit. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.run(`systemctl show --value --property ${name} ${unit}`)).trim();
  }

  /** What the unit has logged. */
  async journal(unit: string): Promise<string> {
    return (await this.outcome(`journalctl --no-pager --output cat --unit ${unit}`)).stdout;
  }

  /** Ends everything in it at once. */
  async stop(): Promise<void> {
    // With its first process a whole namespace of processes ends, and systemd-nspawn then cleans up.
    if (this.#nspawn.alive) process.kill(this.#leader, 'SIGKILL');
    await this.#nspawn.exit(10_000);
    for (const folder of ['propagate', 'unix-export'])
      rmSync(`/run/systemd/nspawn/${folder}/${this.#name}`, { recursive: true, force: true });
  }

  async #settled(): Promise<void> {
    await eventually(
      'systemd to be up',
      async () => {
        if (!this.#nspawn.alive)
          throw new Error(`systemd-nspawn ended: ${lastLines(this.#nspawn.stderr + this.#nspawn.stdout)}`);
        const { stdout } = await this.outcome('systemctl is-system-running');
        return /running|degraded/.test(stdout);
      },
      BOOT_MS,
    );
  }
}

/** Options that put files into the container. */
function systemFiles(dir: string, { files, binds }: ContainerSpec): string[] {
  const texts = {
    '/etc/systemd/system/lab.target': EMPTY_TARGET,
    // With one, this is no first boot, at which systemd would enable what the distribution wants.
    '/etc/machine-id': '0123456789abcdef0123456789abcdef\n',
    '/etc/systemd/system/vtepd.service': ofProject('systemd/vtepd.service'),
    '/etc/systemd/system/vtepd@.service': ofProject('systemd/vtepd@.service'),
    '/etc/sysusers.d/vtepd.conf': ofProject('systemd/sysusers.d/vtepd.conf'),
    ...files,
  };
  const written = Object.entries(texts).map(([path, text], k) => {
    const source = join(dir, `file-${k}`);
    writeFileSync(source, text);
    return [path, source];
  });
  return [...written, ...Object.entries(binds)].map(([path, source]) => `--bind=${source}:${path}`);
}

function ofProject(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

function programs(dir: string, tools: readonly string[]): string[] {
  const bin = join(dir, 'bin');
  mkdirSync(bin);
  for (const name of ['vtepd', 'vtepctl']) symlinkSync(`/opt/vtepd/dist/${name}.js`, join(bin, name));
  symlinkSync('/opt/node', join(bin, 'node'));
  const found = tools.map((tool) => `--bind-ro=${tool}:/opt/${tool.split('/').at(-1)}`);
  return [
    `--bind-ro=${ROOT}:/opt/vtepd`,
    `--bind-ro=${process.execPath}:/opt/node`,
    `--bind-ro=${bin}:/usr/local/bin`,
    ...found,
  ];
}

/** The container's first process: the one that systemd-nspawn has started. */
function firstChild({ pid, alive, stderr }: Running): number | undefined {
  if (!alive) throw new Error(`systemd-nspawn ended: ${stderr}`);
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  const [child] = children.split(' ');
  if (child === '' || !/^systemd$/m.test(readFileSync(`/proc/${child}/comm`, 'utf8'))) return undefined;
  return Number(child);
}
