/**
 * Detects devices whose received datagrams have all been on a physical wire.
 *
 * The network card of the sender has split superframes into such datagrams, so a train that the
 * kernel builds from them is genuine. Over other devices (veth, a bridge, a VM's virtio card)
 * another system on this machine can pass on an inner superframe unsplit.
 */
import { existsSync } from 'node:fs';
import type { Shim } from '../abi/binding.js';

const DRIVER_NAME_SIZE = 32;

/**
 * Driver names as ethtool shows them. Stacked devices are included, because their lower devices are
 * unknown.
 */
const NO_WIRE: ReadonlySet<string> = new Set([
  'veth',
  'bridge',
  'macvlan',
  'macvtap',
  'ipvlan',
  'ipvtap',
  'tun',
  'virtio_net',
  'openvswitch',
  'bonding',
  'team',
  'ifb',
  'dummy',
  'vrf',
  'hv_netvsc',
  'xen_netfront',
  'vmxnet3',
]);

/**
 * @returns false also for a device that does not exist, reports no driver, or is on no bus (sysfs:
 * no `device`)
 */
export function isWireDevice(shim: Shim, device: string): boolean {
  const bytes = new Uint8Array(DRIVER_NAME_SIZE);
  const len = shim.deviceDriver(device, bytes);
  if (len <= 0 || !existsSync(`/sys/class/net/${device}/device`)) return false;
  const driver = Buffer.from(bytes.subarray(0, len)).toString('latin1');
  return !NO_WIRE.has(driver) && !driver.includes('VLAN');
}
