/**
 * Devices of this network namespace: `ip` commands, the machine of `src/host`, and made-up devices.
 *
 * The `ip` commands are independent of `src/host/netlink`, so tests compare both.
 */
import type { Test } from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { type Link, Machine } from '../../src/host/machine.js';
import { run } from './command.js';

/** Opens the machine of this namespace; the end of the test closes it. */
export async function openMachine(
  t: Pick<Test, 'teardown'>,
  shim: Shim = loadShim(),
  failed?: (error: Error) => void,
): Promise<Machine> {
  const machine = await Machine.open(shim, failed);
  t.teardown(() => machine.close());
  return machine;
}

/** Runs commands of `ip`, one a line, in this namespace. @throws Error with its words */
export async function ip(commands: string): Promise<void> {
  const lines = commands.split('\n').map((line) => line.trim());
  await run(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

/** Runs `ip -json -details ARGS` in this namespace. */
export async function ipShow(args: string): Promise<Record<string, unknown>[]> {
  const text = await run(`ip -json -details ${args}`);
  const found = text.trim() === '' ? [] : (JSON.parse(text) as Record<string, unknown>[]);
  return found.filter((object) => Object.keys(object).length > 0);
}

/** Makes up a device: an Ethernet card that is up, with the given properties instead. */
export function makeLink(changes: Partial<Link>): Link {
  return {
    index: 1,
    name: 'eth0',
    up: true,
    mtu: 1500,
    mac: '02:00:00:00:00:01',
    master: 0,
    lower: 0,
    alias: '',
    kind: '',
    addrGenMode: 'eui64',
    tun: undefined,
    vxlanPort: 0,
    port: undefined,
    ...changes,
  };
}
