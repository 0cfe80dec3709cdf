/**
 * Faults of the TAP and the bridge of a VNI, and their texts for the status. Pure functions.
 */
import type { Link } from '../host/machine.js';

/** Faults that keep frames of a VNI from passing its devices. */
export type DeviceFault =
  | 'tap_deleted'
  /** The TAP is in another network namespace. Frames pass. */
  | 'tap_elsewhere'
  | 'tap_down'
  /** The TAP is not a port of the configured bridge. */
  | 'tap_out'
  | 'bridge_deleted'
  | 'bridge_down';

/** The devices of a VNI as the configuration names them, and as they are. */
export interface DeviceState {
  readonly tap: string;
  /** '' none. */
  readonly bridge: string;
  /** True when the TAP was moved to another network namespace. */
  readonly isElsewhere: boolean;
  /** Undefined: not in this namespace. */
  readonly tapLink: Link | undefined;
  /** Undefined: deleted, or no bridge is configured. */
  readonly bridgeLink: Link | undefined;
  /** Name of the bridge that the TAP is in; '' none. */
  readonly master: string;
}

/** Returns the fault that has to be mended first. */
export function faultOf({ bridge, isElsewhere, tapLink, bridgeLink }: DeviceState): DeviceFault | undefined {
  if (tapLink === undefined) return isElsewhere ? 'tap_elsewhere' : 'tap_deleted';
  if (bridge !== '' && bridgeLink === undefined) return 'bridge_deleted';
  if (bridgeLink !== undefined && tapLink.master !== bridgeLink.index) return 'tap_out';
  if (!tapLink.up) return 'tap_down';
  if (bridgeLink !== undefined && !bridgeLink.up) return 'bridge_down';
  return undefined;
}

export interface FaultTexts {
  readonly detail: string;
  readonly why: string;
  readonly cure: string;
}

/**
 * @param isOurs true when vtepd made the missing device, and makes it again
 * @param failure why it could not be made or joined; '' when that has not failed
 */
export function textsOf(
  fault: DeviceFault,
  state: DeviceState,
  isOurs: boolean,
  failure: string,
): FaultTexts {
  const { tapLink, bridgeLink, master } = state;
  const tap = tapLink?.name ?? state.tap;
  const bridge = bridgeLink?.name ?? state.bridge;
  const failed = failure === '' ? '' : `; ${failure}`;
  const again = isOurs ? 'vtepd makes it again' : 'create it again; vtepd joins it when it is there';
  const noFrames = 'no frame of its VNI passes';
  switch (fault) {
    case 'tap_deleted':
      return {
        detail: `TAP ${tap} was deleted${failed}`,
        why: noFrames,
        cure: isOurs
          ? again
          : `create it again (ip tuntap add dev ${tap} mode tap); vtepd adopts it when it is there`,
      };
    case 'tap_elsewhere':
      return {
        detail: `TAP ${tap} is in another network namespace`,
        why: 'frames pass while the TAP is up there; vtepd no longer follows or changes the device, its MTU among others',
        cure: `in that namespace: ip link set dev ${tap} up, or move it back (ip link set dev ${tap} netns PID, with the PID of vtepd)`,
      };
    case 'tap_down':
      return { detail: `TAP ${tap} is down`, why: noFrames, cure: `ip link set dev ${tap} up` };
    case 'tap_out':
      return {
        detail: `TAP ${tap} is not in bridge ${bridge}${master === '' ? '' : `, but in ${master}`}`,
        why: 'no frame passes between the bridge and the VNI',
        cure: `ip link set dev ${tap} master ${bridge}`,
      };
    case 'bridge_deleted':
      return {
        detail: `bridge ${bridge} of TAP ${tap} was deleted${failed}`,
        why: 'no frame passes between the bridge and the VNI',
        cure: isOurs ? again : `${again} (ip link add name ${bridge} type bridge)`,
      };
    case 'bridge_down':
      return { detail: `bridge ${bridge} is down`, why: noFrames, cure: `ip link set dev ${bridge} up` };
  }
}
