/**
 * The VNIs of a running VTEP, each with its device, its row in the data plane and its overlay MTU: how they come, change
 * and go, one at a time, without touching the others. Who decides what there is to be is `configuration.ts`.
 *
 * A VNI comes in two steps, because the devices of all those of the start must be open before the workers run.
 */
import type { PeerSettings, Settings, VniSettings } from '../config/settings.js';
import { deriveMac } from '../host/mac-address.js';
import { machineId, netnsId } from '../host/machine-id.js';
import type { OverlayDevice, OverlayDeviceSpec } from '../host/overlay-device.js';
import type { OverlayDevices } from '../host/overlay-devices.js';
import type { Paths } from '../host/paths.js';
import type { PathCare } from '../path-care.js';
import { formatMac } from '../wire/mac.js';
import type { NewPeer } from '../worker/data-plane.js';
import type { Handle, NewVni } from '../worker/handle.js';

export interface OverlayOptions {
  readonly settings: Pick<Settings, 'workers'>;
  readonly paths: Paths;
  readonly care: PathCare;
  readonly devices: OverlayDevices;
  /** Devices take superframes and unfinished checksums. */
  readonly offload: boolean;
  readonly warn: (code: string, detail: string) => void;
  /** Devices were opened. */
  readonly opened: (devices: readonly OverlayDevice[]) => void;
}

/** A VNI whose device is open and whose peers are known; the data plane has not heard of it yet. */
export interface OpenVni {
  readonly settings: VniSettings;
  readonly device: OverlayDevice;
  readonly peers: readonly NewPeer[];
}

export class Overlay {
  readonly #options: OverlayOptions;

  constructor(options: OverlayOptions) {
    this.#options = options;
  }

  /** Resolves the peers, asks for their routes, opens the devices: of all these VNIs, or of none. @throws Error for people */
  async open(vnis: readonly VniSettings[]): Promise<readonly OpenVni[]> {
    const { care, devices, opened, warn } = this.#options;
    const resolved = await this.resolve(vnis.map(({ peers }) => peers));
    const begun: number[] = [];
    try {
      const specs: OverlayDeviceSpec[] = [];
      for (const [i, vni] of vnis.entries()) {
        begun.push(vni.vni);
        specs.push(this.#spec(vni, await care.begin(vni, resolved[i])));
      }
      const open = await devices.open(specs);
      for (const device of open)
        if (device.unsteered !== '') warn('queues_unsteered', unsteeredDetail(device));
      opened(open);
      return vnis.map((settings, i) => ({ settings, device: open[i], peers: resolved[i] }));
    } catch (error) {
      for (const vni of begun) await care.end(vni);
      throw error;
    }
  }

  /** Peers of several lists with their addresses. @throws Error for people */
  async resolve(lists: readonly (readonly PeerSettings[])[]): Promise<readonly (readonly NewPeer[])[]> {
    const { paths, warn } = this.#options;
    const resolved = await paths.resolvePeers(lists);
    for (const skipped of paths.skipped.splice(0)) warn('peer_duplicate', skipped);
    return resolved;
  }

  /** From now on frames of this VNI are forwarded. */
  async configure(handle: Handle, { settings, device, peers }: OpenVni): Promise<void> {
    await handle.addVni(newVni(settings, device, this.#options.care.overlayMtu(settings.vni)));
    await handle.addPeers(settings.vni, peers);
  }

  #spec(vni: VniSettings, overlayMtu: number): OverlayDeviceSpec {
    const underlay = this.#options.paths.localAddresses()[0] ?? '';
    const netns = underlay === '' ? netnsId() : '';
    return {
      vni: vni.vni,
      tap: vni.tap,
      bridge: vni.bridge,
      addresses: vni.addresses,
      mac: vni.mac,
      derivedMac: deriveMac({ machineId: machineId(), underlay, vni: vni.vni, netns }),
      overlayMtu,
      offload: this.#options.offload,
      queues: this.#options.settings.workers,
    };
  }
}

function newVni(settings: VniSettings, device: OverlayDevice, overlayMtu: number): NewVni {
  const { learning, ageingS, fdbLimit, flood, accept, vlan } = settings;
  return {
    vni: settings.vni,
    tap: device.name,
    bridge: settings.bridge,
    mac: formatMac(device.mac.high, device.mac.low),
    macParts: device.mac,
    tapFds: device.fds,
    policy: {
      learning,
      ageingS,
      fdbLimit,
      flood,
      accept,
      vlan,
      overlayMtu,
      packetMax: settings.mtu === 'auto' ? 0 : settings.mtu,
    },
  };
}

function unsteeredDetail({ name, unsteered }: OverlayDevice): string {
  return `${name}: the kernel refuses to keep flows on their queue (${unsteered}): frames of a flow may overtake each other when it moves to another worker; run with CAP_BPF, or with --workers 1`;
}
