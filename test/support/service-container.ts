/**
 * A machine with a real systemd as its first process, in a lab's network namespace.
 *
 * systemd-nspawn(1) runs it over the /usr of this machine; all other directories are empty and in
 * memory. It boots in one or two seconds and leaves nothing behind.
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
/**
 * Boot target without dependencies: systemd runs only units that the lab starts, and units that
 * these require.
 */
const EMPTY_TARGET = '[Unit]\nDescription=Nothing but what the lab starts\nDefaultDependencies=no\n';

export interface ContainerSpec {
  /** Path in the container → text of the file. */
  readonly files: Readonly<Record<string, string>>;
  /** Path in the container → path on this machine. */
  readonly binds: Readonly<Record<string, string>>;
  /** Paths of programs to mount in /opt. */
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

  /**
   * @param dir directory for files of the container
   * @throws Error with the output of systemd-nspawn
   */
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
      // The systemd of a real machine has these capabilities, too.
      '--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_BPF',
      '--system-call-filter=bpf',
      ...binds,
      'systemd.unit=lab.target',
    ];
    // Unified cgroups as on Debian 12; no lock, so that several containers may share /usr.
    const env = { SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1', SYSTEMD_NSPAWN_LOCK: '0' };
    const nspawn = start(command, { env });
    const leader = await eventually('systemd to run', () => firstChild(nspawn), BOOT_MS);
    const container = new ServiceContainer(host.name, nspawn, leader);
    try {
      await container.#booted();
    } catch (error) {
      await container.stop();
      throw error;
    }
    return container;
  }

  /**
   * Prefix of commands in the container. It removes the environment of this process, which would
   * affect Node.
   */
  get #inside(): string[] {
    return ['nsenter', '--all', `--target=${this.#leader}`, 'env', '-i', `PATH=${PATH}`];
  }

  /** Runs a command in the container. */
  outcome(command: string | readonly string[], limitMs = 20_000): Promise<Outcome> {
    const words = typeof command === 'string' ? command.split(' ') : command;
    return outcome([...this.#inside, ...words], { limitMs });
  }

  /**
   * Runs a command in the container and returns its output.
   *
   * @throws Error when the exit code is not 0
   */
  run(command: string | readonly string[]): Promise<string> {
    const words = typeof command === 'string' ? command.split(' ') : command;
    return run([...this.#inside, ...words]);
  }

  start(command: readonly string[]): Running {
    return start([...this.#inside, ...command]);
  }

  /** Value of a property of a unit. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.run(`systemctl show --value --property ${name} ${unit}`)).trim();
  }

  /** Log lines of a unit. */
  async journal(unit: string): Promise<string> {
    return (await this.outcome(`journalctl --no-pager --output cat --unit ${unit}`)).stdout;
  }

  /** Kills all processes of the container. */
  async stop(): Promise<void> {
    // Killing the first process ends the pid namespace; systemd-nspawn then cleans up.
    if (this.#nspawn.alive) process.kill(this.#leader, 'SIGKILL');
    await this.#nspawn.exit(10_000);
    for (const folder of ['propagate', 'unix-export'])
      rmSync(`/run/systemd/nspawn/${folder}/${this.#name}`, { recursive: true, force: true });
  }

  async #booted(): Promise<void> {
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

/** Options that mount files into the container. */
function systemFiles(dir: string, { files, binds }: ContainerSpec): string[] {
  const texts = {
    '/etc/systemd/system/lab.target': EMPTY_TARGET,
    // Without it systemd assumes a first boot and enables the units that the distribution presets.
    '/etc/machine-id': '0123456789abcdef0123456789abcdef\n',
    '/etc/systemd/system/vtepd.service': projectFile('systemd/vtepd.service'),
    '/etc/systemd/system/vtepd@.service': projectFile('systemd/vtepd@.service'),
    '/etc/sysusers.d/vtepd.conf': projectFile('systemd/sysusers.d/vtepd.conf'),
    ...files,
  };
  const written = Object.entries(texts).map(([path, text], k) => {
    const source = join(dir, `file-${k}`);
    writeFileSync(source, text);
    return [path, source];
  });
  return [...written, ...Object.entries(binds)].map(([path, source]) => `--bind=${source}:${path}`);
}

function projectFile(path: string): string {
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

/** Pid of the container's first process, which systemd-nspawn has started. */
function firstChild({ pid, alive, stderr }: Running): number | undefined {
  if (!alive) throw new Error(`systemd-nspawn ended: ${stderr}`);
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  const [child] = children.split(' ');
  if (child === '' || !/^systemd$/m.test(readFileSync(`/proc/${child}/comm`, 'utf8'))) return undefined;
  return Number(child);
}
