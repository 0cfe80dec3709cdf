/**
 * A real name server (dnsmasq) in a namespace. A test changes the records of its zone `lab`.
 *
 * Hosts use it as their only name server: `ip netns exec` mounts /etc/netns/NAME/resolv.conf over
 * /etc/resolv.conf.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Running } from './command.js';
import type { Lab } from './lab.js';
import { type Namespace, ownEtc } from './netns.js';

/** TTL of the records, seconds: the minimum that vtepd uses. */
export const TTL_S = 5;

export class NameServer {
  readonly #lab: Lab;
  readonly #where: Namespace;
  readonly #hosts: string;
  #process: Running | undefined;

  constructor(lab: Lab, where: Namespace) {
    this.#lab = lab;
    this.#where = where;
    this.#hosts = join(lab.dir, 'zone');
    writeFileSync(this.#hosts, '');
  }

  /** @param records name → addresses; all other names do not exist */
  set(records: Record<string, readonly string[]>): void {
    const lines = Object.entries(records).flatMap(([name, addresses]) =>
      addresses.map((address) => `${address} ${name}\n`),
    );
    writeFileSync(this.#hosts, lines.join(''));
    this.#process?.signal('SIGHUP');
  }

  async start(): Promise<void> {
    const own = '--keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --log-facility=-';
    const zone = `--no-resolv --no-hosts --addn-hosts=${this.#hosts} --local=/lab/ --local-ttl=${TTL_S}`;
    this.#process = this.#lab.keep(this.#where.start(`dnsmasq ${own} ${zone}`));
    await this.#process.untilOutput(/read .*zone/);
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
    this.#process = undefined;
  }
}

/** Makes this name server the only one of a host. Call it before the host's processes start. */
export function useNameServer(host: Namespace, server: string): void {
  const etc = ownEtc(host);
  mkdirSync(etc, { recursive: true });
  writeFileSync(join(etc, 'resolv.conf'), `nameserver ${server}\noptions timeout:1 attempts:1\n`);
}
