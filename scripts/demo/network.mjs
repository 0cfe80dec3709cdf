/**
 * The two hosts of the demo: network namespaces joined by a veth pair.
 *
 * The namespaces have the pid of this process in their names. `remove` deletes everything; the next
 * start deletes what a killed demo left. Needs root and iproute2.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const STOP_MS = 5_000;

export const NEAR = { underlay: '192.168.80.10', overlay: '10.10.10.1' };
export const FAR = { underlay: '192.168.80.11', overlay: '10.10.10.2' };
export const VNI = 100;
/** Bytes: underlay MTU of 1500 minus 50 of encapsulation. */
const OVERLAY_MTU = 1450;

const PREFIX = 'vtdemo-';

export class DemoNetwork {
  near = `${PREFIX}${process.pid}-near`;
  far = `${PREFIX}${process.pid}-far`;
  /** Directory of the API's socket and of the daemon's log. */
  dir = mkdtempSync(join(tmpdir(), 'vtepd-demo-'));
  socket = join(this.dir, 'api.sock');
  #logFile = join(this.dir, 'vtepd.log');
  /** Aborts every pending wait; after that only `remove` may be called. */
  interrupt;
  #daemon;

  constructor(interrupt) {
    this.interrupt = interrupt;
  }

  /** Creates two namespaces, the veth pair between them, and the kernel's VXLAN device on far. */
  async build() {
    await removeLeftovers();
    const { near, far } = this;
    const ip = (command) => this.run(`ip ${command}`);
    await ip(`netns add ${near}`);
    await ip(`netns add ${far}`);
    await ip(`link add eth0 netns ${near} type veth peer name eth0 netns ${far}`);
    for (const [host, { underlay }] of [
      [near, NEAR],
      [far, FAR],
    ]) {
      await ip(`-n ${host} link set lo up`);
      await ip(`-n ${host} address add ${underlay}/24 dev eth0`);
      await ip(`-n ${host} link set eth0 up`);
    }
    const ends = `local ${FAR.underlay} remote ${NEAR.underlay} dstport 4789 dev eth0`;
    await ip(`-n ${far} link add vxlan${VNI} type vxlan id ${VNI} ${ends}`);
    await ip(`-n ${far} address add ${FAR.overlay}/24 dev vxlan${VNI}`);
    await ip(`-n ${far} link set vxlan${VNI} mtu ${OVERLAY_MTU} up`);
  }

  /** Starts the daemon on near, detached from Ctrl-C of this terminal. Its log goes to a file. */
  startDaemon(executable, flags) {
    const log = openSync(this.#logFile, 'w');
    const command = [process.execPath, executable, ...flags];
    this.#daemon = spawn('ip', ['netns', 'exec', this.near, ...command], {
      stdio: ['ignore', log, log],
      detached: true,
    });
  }

  /** Exit code of the daemon or name of the signal that ended it; undefined while it runs. */
  get daemonEnd() {
    return this.#daemon?.exitCode ?? this.#daemon?.signalCode ?? undefined;
  }

  daemonLog() {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8').trim() : '(vtepd was not started)';
  }

  /** @returns stdout of a command, after the command has ended @throws Error when it fails */
  run(command) {
    return run(command, this.interrupt);
  }

  /** Variant of `run` in a namespace. */
  inside(host, command) {
    return this.run(`ip netns exec ${host} ${command}`);
  }

  /** Starts a command in a namespace and leaves it running. */
  start(host, command) {
    return spawn('ip', ['netns', 'exec', host, ...command.split(' ')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
  }

  /** Ends the daemon and removes everything. Never throws, even after a partial `build`. */
  async remove() {
    await this.#stopDaemon();
    for (const host of [this.near, this.far]) await removeNamespace(host);
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #stopDaemon() {
    const daemon = this.#daemon;
    if (daemon === undefined || this.daemonEnd !== undefined) return;
    const ended = new Promise((resolve) => daemon.once('exit', resolve));
    const deadline = setTimeout(() => daemon.kill('SIGKILL'), STOP_MS);
    daemon.kill('SIGTERM');
    await ended;
    clearTimeout(deadline);
  }
}

/** @throws Error with what the command wrote to stderr */
async function run(command, signal) {
  const [file, ...args] = command.split(' ');
  const { stdout } = await execute(file, args, {
    timeout: 30_000,
    maxBuffer: 16 << 20,
    ...(signal && { signal }),
  });
  return stdout;
}

async function removeLeftovers() {
  for (const line of (await run('ip netns list')).split('\n')) {
    const [name] = line.split(' ');
    const owner = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner !== undefined && !isAlive(Number(owner))) await removeNamespace(name);
  }
}

async function removeNamespace(name) {
  const pids = await run(`ip netns pids ${name}`).catch(() => '');
  for (const pid of pids.split('\n').filter(Boolean)) kill(Number(pid));
  await run(`ip netns del ${name}`).catch(() => '');
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // The process has ended in the meantime.
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
