/**
 * Follows the local addresses and the devices that the underlay's sockets are bound to.
 *
 * A configured local address that this host does not have, or that is tentative (RFC 4862 §5.4), is
 * bound all the same, so that a standby can run. Until the address is usable, nothing is sent in its
 * family: IPv6 would send from it at once. A device that was deleted and made again has another
 * interface index, so the sockets are bound to it again by its name.
 */
import type { Settings } from '../config/settings.js';
import type { Held } from '../exchange/protocol.js';
import type { Machine } from '../host/machine.js';
import type { Logger } from '../log/log.js';
import type { IpAddress } from '../wire/ip-address.js';
import type { FaultTexts } from './device-faults.js';

type Family = 4 | 6;

export interface UnderlayReports {
  set(code: 'device_missing' | 'local_address_missing', subject: string, texts: FaultTexts | undefined): void;
}

export interface UnderlayWatchOptions {
  readonly machine: Machine;
  readonly settings: Pick<Settings, 'local' | 'underlayDev'>;
  readonly reports: UnderlayReports;
  readonly log: Logger;
  /** Holds the datagrams of families back, and the probes. */
  readonly hold: (held: Held) => void;
  /**
   * Binds the sockets of these families to a device again.
   *
   * @returns 0 or a negative errno
   */
  readonly rebind: (device: string, families: readonly Family[]) => number;
  /** Reports the interface index of `--underlay-dev`; 0: it is missing. */
  readonly bound: (index: number) => void;
}

/** A device that sockets are bound to. */
interface Bound {
  readonly name: string;
  readonly families: readonly Family[];
  /** Interface index; 0: the device is missing. */
  index: number;
}

export class UnderlayWatch {
  readonly #options: UnderlayWatchOptions;
  readonly #bound: readonly Bound[];
  #held: Held = { ipv4: false, ipv6: false };
  #unsubscribe = () => {};

  constructor(options: UnderlayWatchOptions) {
    this.#options = options;
    this.#bound = boundDevices(options.settings, options.machine);
    for (const { name, index } of this.#bound)
      if (name === options.settings.underlayDev) options.bound(index);
  }

  /** Families whose datagrams are held back. */
  get held(): Held {
    return this.#held;
  }

  /** Follows changes from now on. */
  start(): void {
    this.#unsubscribe = this.#options.machine.subscribe(() => this.#examine());
    this.#examine();
  }

  stop(): void {
    this.#unsubscribe();
  }

  #examine(): void {
    for (const device of this.#bound) {
      this.#follow(device);
      this.#report(device);
    }
    const missing = this.#options.settings.local.filter((address) => this.#check(address));
    const held = {
      ipv4: missing.some(({ family }) => family === 4),
      ipv6: missing.some(({ family }) => family === 6),
    };
    if (held.ipv4 === this.#held.ipv4 && held.ipv6 === this.#held.ipv6) return;
    this.#held = held;
    this.#options.hold(held);
  }

  #follow(device: Bound): void {
    const { machine, rebind, log } = this.#options;
    const { name, families } = device;
    if (device.index !== 0 && machine.link(device.index) !== undefined) return;
    const link = machine.find(name);
    if (link === undefined) device.index = 0;
    else {
      const error = rebind(name, families);
      if (error < 0) return;
      device.index = link.index;
      log.info({ device: name }, 'the sockets of the underlay are bound to their device again');
    }
    if (name === this.#options.settings.underlayDev) this.#options.bound(device.index);
  }

  #report({ name, index }: Bound): void {
    const { machine, reports } = this.#options;
    const link = machine.link(index);
    const texts = link === undefined ? missingDevice(name) : link.up ? undefined : downDevice(name);
    reports.set('device_missing', name, texts);
  }

  /** Reports whether a local address is missing. @returns true when it is */
  #check(address: IpAddress): boolean {
    const { machine, reports } = this.#options;
    const [text] = address.text.split('%');
    const scope = address.scope === '' ? 0 : machine.scopeId(address.scope);
    const found = [...machine.addresses].filter(
      (own) => own.text === text && (address.scope === '' || own.index === scope),
    );
    const isMissing = !found.some(({ usable }) => usable);
    const texts = isMissing ? missingAddress(address.text, found.length > 0) : undefined;
    reports.set('local_address_missing', address.text, texts);
    return isMissing;
  }
}

function boundDevices(
  { local, underlayDev }: Pick<Settings, 'local' | 'underlayDev'>,
  machine: Machine,
): Bound[] {
  if (underlayDev !== '') return [boundTo(machine, underlayDev, [4, 6])];
  // A link-local address binds its socket to the device of its scope.
  return local.filter(({ scope }) => scope !== '').map(({ scope }) => boundTo(machine, scope, [6]));
}

function boundTo(machine: Machine, name: string, families: readonly Family[]): Bound {
  return { name, families, index: machine.scopeId(name) };
}

function missingDevice(name: string): FaultTexts {
  return {
    detail: `network device ${name}, to which the sockets of the underlay are bound, was deleted`,
    why: 'vtepd sends and receives no datagram',
    cure: `create ${name} again; vtepd binds its sockets to it when it is there`,
  };
}

function downDevice(name: string): FaultTexts {
  return {
    detail: `network device ${name}, to which the sockets of the underlay are bound, is down`,
    why: 'vtepd sends and receives no datagram',
    cure: `ip link set dev ${name} up`,
  };
}

function missingAddress(text: string, isTentative: boolean): FaultTexts {
  return {
    detail: isTentative
      ? `--local ${text} is not usable yet: duplicate address detection runs, or has failed`
      : `--local ${text} is not an address of this host`,
    why: 'vtepd sends nothing in its address family until the address is usable',
    cure: isTentative
      ? `see "ip -6 address show to ${text.split('%')[0]}": dadfailed means that another host has the address`
      : `nothing, if another host has the address now and this one is its standby; otherwise add it (ip address add ${text.split('%')[0]} dev DEVICE), or correct --local`,
  };
}
