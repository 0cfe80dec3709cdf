/**
 * Devices on which every datagram has been on a wire: what arrives there was cut up by its sender's card, so a train that the
 * kernel made of it is one. Over others (veth, a bridge, a VM's virtio card) a neighbour on this machine may hand over an inner
 * superframe as it is.
 */
import { existsSync } from 'node:fs';
import type { Shim } from '../abi/binding.js';

const DRIVER_NAME_SIZE = 32;

/** By the name that ethtool tells. Of stacked devices it is not known what is below. */
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

/** @returns false as well for a device that is not there, names no driver, or is none of a bus (sysfs: no `device`) */
export function isWireDevice(shim: Shim, device: string): boolean {
  const bytes = new Uint8Array(DRIVER_NAME_SIZE);
  const len = shim.deviceDriver(device, bytes);
  if (len <= 0 || !existsSync(`/sys/class/net/${device}/device`)) return false;
  const driver = Buffer.from(bytes.subarray(0, len)).toString('latin1');
  return !NO_WIRE.has(driver) && !driver.includes('VLAN');
}
