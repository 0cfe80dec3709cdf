/**
 * Network namespaces for labs and benchmarks, wired with veth pairs.
 *
 * Namespaces are removed when the test process ends, for whatever reason. Every name begins with
 * `vtlab-<pid>-`, so the names of concurrent test processes do not collide. A later test process
 * removes the namespaces whose pid belongs to no running process. Interfaces are created inside
 * their namespaces: nothing appears in the namespace in which the tests were started.
 *
 * Requires root and iproute2.
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import {
  killAll,
  type Outcome,
  outcome,
  type Running,
  type RunOptions,
  run,
  start,
  words,
} from './command.js';

const PREFIX = `vtlab-${process.pid}-`;
const NAME = /^vtlab-(\d+)-/;

const alive = new Set<string>();
let created = 0;
let armed = false;

/** One network namespace and the operations in it. */
export class Namespace {
  /** Name in `ip netns`. */
  readonly name: string;
  /** Name in the diagram at the top of the lab's file, such as `near`. */
  readonly label: string;

  constructor(label: string) {
    this.label = label;
    this.name = `${PREFIX}${created++}-${label}`;
  }

  /**
   * Runs `ip` commands, one per line: `link set eth0 up`.
   *
   * @throws Error with the first command that fails
   */
  async ip(lines: string): Promise<void> {
    await run(['ip', '-n', this.name, '-batch', '-'], { input: lines });
  }

  /** Returns the parsed output of `ip -json -details …`. */
  async show<T = Record<string, unknown>>(command: string): Promise<T[]> {
    const text = await run(['ip', '-n', this.name, '-json', '-details', ...words(command)]);
    return text.trim() === '' ? [] : JSON.parse(text);
  }

  /** Names of all devices except `lo`. */
  async devices(): Promise<string[]> {
    const links = await this.show<{ ifname: string }>('link show');
    return links.map((link) => link.ifname).filter((name) => name !== 'lo');
  }

  run(command: string | readonly string[], options?: RunOptions): Promise<string> {
    return run(this.#inside(command), options);
  }

  outcome(command: string | readonly string[], options?: RunOptions): Promise<Outcome> {
    return outcome(this.#inside(command), options);
  }

  start(command: string | readonly string[], options?: RunOptions): Running {
    return start(this.#inside(command), options);
  }

  /** Starts a program of test/support/tools with the Node that runs the tests. */
  tool(name: string, ...args: (string | number)[]): Running {
    return this.start([process.execPath, toolPath(name), ...args.map(String)]);
  }

  async remove(): Promise<void> {
    alive.delete(this.name);
    rmSync(ownEtc(this), { recursive: true, force: true });
    await run(['ip', 'netns', 'del', this.name]);
  }

  #inside(command: string | readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.name, ...words(command)];
  }
}

/**
 * Directory of files that `ip netns exec` mounts over files of /etc; removed with the namespace.
 */
export function ownEtc({ name }: Pick<Namespace, 'name'>): string {
  return `/etc/netns/${name}`;
}

/**
 * Creates a namespace in which an underlay is usable at once.
 *
 * Loopback is up, duplicate address detection is off, and IPv6 is off for devices without an IPv6
 * address, because router solicitations would be counted as frames. Bridges do not pass their
 * frames to iptables, which would reassemble and fragment them.
 */
export async function createNamespace(label: string): Promise<Namespace> {
  arm();
  const namespace = new Namespace(label);
  await run(['ip', 'netns', 'add', namespace.name]);
  alive.add(namespace.name);
  await namespace.run(['sh', '-c', PREPARE]);
  return namespace;
}

const PREPARE = `ip link set lo up
for f in all default; do
  echo 0 > /proc/sys/net/ipv6/conf/$f/accept_dad
  echo 0 > /proc/sys/net/ipv6/conf/$f/router_solicitations
done
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
for f in /proc/sys/net/bridge/bridge-nf-call-*; do
  [ ! -e $f ] || echo 0 > $f
done
true`;

export interface VethEnd {
  in: Namespace;
  device: string;
  mac?: string;
  /** Device MTU, bytes; 1500 by default. */
  mtu?: number;
  /** `ADDRESS/LENGTH`. An IPv6 address enables IPv6 on the device. */
  addresses?: readonly string[];
  bridge?: string;
}

/** Joins two namespaces with a veth pair that is up on both sides. */
export async function joinByVeth(a: VethEnd, b: VethEnd): Promise<void> {
  await run(
    words(`ip link add ${a.device} netns ${a.in.name} type veth peer name ${b.device} netns ${b.in.name}`),
  );
  await Promise.all([configure(a), configure(b)]);
}

async function configure(end: VethEnd): Promise<void> {
  const { device, addresses = [] } = end;
  if (addresses.some((address) => address.includes(':'))) await allowIpv6(end.in, device);
  const lines = [`link set ${device} mtu ${end.mtu ?? 1500}`];
  if (end.mac) lines.push(`link set ${device} address ${end.mac}`);
  if (end.bridge) lines.push(`link set ${device} master ${end.bridge}`);
  lines.push(`link set ${device} up`, ...addresses.map((address) => addressLine(device, address)));
  await end.in.ip(lines.join('\n'));
}

function addressLine(device: string, address: string): string {
  return `address add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`;
}

/** Enables IPv6 on an existing device. */
async function allowIpv6(namespace: Namespace, device: string): Promise<void> {
  await namespace.run(['sh', '-c', `echo 0 > /proc/sys/net/ipv6/conf/${device}/disable_ipv6`]);
}

/** Creates a bridge that is up and forwards at once. */
export async function addBridge(namespace: Namespace, name: string): Promise<void> {
  await namespace.ip(`link add ${name} type bridge forward_delay 0 mcast_snooping 0
    link set ${name} up`);
}

/**
 * Turns the segmentation offloads of a device off. With these offloads, a capture on the device
 * shows a TCP superframe, or a train of datagrams, as one packet that is not segmented yet.
 */
export async function segmentInSoftware(namespace: Namespace, device: string): Promise<void> {
  await namespace.run(`ethtool -K ${device} tso off gso off gro off tx-udp-segmentation off`);
}

/** Path of a file in test/support/tools. */
export function toolPath(name: string): string {
  return new URL(`tools/${name}`, import.meta.url).pathname;
}

/**
 * On first use in this process, removes the namespaces of dead test processes and installs the
 * clean-up of this process.
 */
function arm(): void {
  if (armed) return;
  armed = true;
  removeLeftovers();
  process.on('exit', removeAll);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(130));
  }
}

function removeAll(): void {
  killAll();
  for (const name of alive) removeNow(name);
  alive.clear();
}

function removeLeftovers(): void {
  const names = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n');
  for (const line of names) {
    const owner = NAME.exec(line)?.[1];
    if (owner !== undefined && !isAlive(Number(owner))) removeNow(line.split(' ')[0]);
  }
}

function removeNow(name: string): void {
  rmSync(ownEtc({ name }), { recursive: true, force: true });
  try {
    const pids = execFileSync('ip', ['netns', 'pids', name], { encoding: 'utf8' });
    for (const pid of pids.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGKILL');
  } catch {
    // The process has exited already.
  }
  try {
    execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  } catch {
    // Another test process has removed the namespace already.
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
