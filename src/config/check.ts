/**
 * Checks for combinations of settings that cannot work.
 *
 * Each check throws a one-line error with the values and the remedy. `merge.ts` calls them when
 * every setting has its value.
 */
import { ConfigError } from './config-error.js';
import { flagOf, type Key } from './schema.js';
import type { Settings, VniSettings } from './settings.js';
import { type Layer, nearest } from './source.js';
import { isLoopback, SOURCE_PORTS_MIN } from './values.js';

/** A VNI's settings with their sources, so that messages can name the flag, or file and line. */
export interface MergedVni {
  readonly settings: VniSettings;
  /** In order of precedence, highest first. */
  readonly layers: readonly Layer[];
}

/** Settings whose value only one VNI can have. */
const UNSHARED: { readonly key: Key; readonly why: string; readonly cure: string }[] = [
  {
    key: 'tap',
    why: 'VNIs cannot share a TAP device',
    cure: 'omit it (each VNI gets vtep<VNI>) or give each VNI its own "tap:" in --config',
  },
  {
    key: 'mac',
    why: 'two TAP devices cannot have the same MAC',
    cure: 'omit it (each VNI gets its own) or give each VNI its own "mac:" in --config',
  },
  {
    key: 'address',
    why: 'two TAP devices cannot have the same address',
    cure: 'give each VNI its own "address:" in --config',
  },
];

/** @throws ConfigError for the first combination that cannot work */
export function checkSettings(
  settings: Settings,
  vnis: readonly MergedVni[],
  layers: readonly Layer[],
): void {
  checkLocal(settings, layers);
  checkApi(settings, layers);
  checkEngine(settings, layers);
  checkSourcePorts(settings, layers);
  checkPeerVnis(vnis, layers);
  for (const { key, why, cure } of UNSHARED) checkUnshared(vnis, key, why, cure);
  checkDevices(settings, vnis);
}

function checkLocal({ local }: Settings, layers: readonly Layer[]): void {
  for (const family of [4, 6]) {
    const addresses = local.filter((address) => address.family === family);
    if (addresses.length < 2) continue;
    const [first, second] = addresses.map((address) => address.text);
    throw new ConfigError(
      `${place(layers, 'local')} ${second}: second local IPv${family} address, the first is ${first}; give one per address family`,
    );
  }
}

/** Requires a token on addresses other than loopback, because API clients can redirect frames. */
function checkApi({ api, apiTokenFile }: Settings, layers: readonly Layer[]): void {
  if (api.kind !== 'tcp' || isLoopback(api.host) || apiTokenFile !== '') return;
  const [{ place, text }] = nearest(layers, 'api');
  throw new ConfigError(
    `${place} ${text}: not a loopback address, so the API needs a token: give --api-token-file, or use 127.0.0.1:PORT, [::1]:PORT, unix:PATH or "off"`,
  );
}

/** Refuses settings that `node:dgram` sockets do not support. */
function checkEngine(
  { io, underlayDev, fwmark, udpChecksum, kernelPath, workers, df }: Settings,
  layers: readonly Layer[],
): void {
  if (io !== 'dgram') return;
  const cure = 'use --io batch, or omit one of the two options';
  if (underlayDev !== '') {
    throw new ConfigError(
      `${place(layers, 'underlayDev')} ${underlayDev}: --io dgram cannot bind to a device; ${cure}`,
    );
  }
  if (fwmark !== 0) {
    const [{ place, text }] = nearest(layers, 'fwmark');
    throw new ConfigError(`${place} ${text}: --io dgram cannot mark its packets; ${cure}`);
  }
  if (!udpChecksum) {
    throw new ConfigError(
      `${place(layers, 'udpChecksum')} off: --io dgram cannot send without UDP checksum; ${cure}`,
    );
  }
  if (kernelPath === 'on') {
    const key = nearest(layers, 'kernelPath').length > 0 ? 'kernelPath' : 'flowOffload';
    throw new ConfigError(`${place(layers, key)} on: --io dgram has no shortcuts of the kernel; ${cure}`);
  }
  if (df === 'inherit') {
    throw new ConfigError(
      `${place(layers, 'df')} inherit: --io dgram uses one DF setting for all datagrams; ${cure}`,
    );
  }
  const [tos] = nearest(layers, 'tos');
  if (tos) {
    throw new ConfigError(`${tos.place} ${tos.text}: --io dgram cannot set the TOS of a datagram; ${cure}`);
  }
  if (workers > 1) {
    throw new ConfigError(
      `${place(layers, 'workers')} ${workers}: --io dgram has one data-plane thread; ${cure}`,
    );
  }
}

/** Requires enough source ports for the pools, or the listening port alone for a single DF setting. */
function checkSourcePorts({ sourcePorts: { min, max }, port, df }: Settings, layers: readonly Layer[]): void {
  const given = `${place(layers, 'sourcePorts')} ${min}-${max}`;
  if (min === max && min !== port) {
    throw new ConfigError(
      `${given}: a single source port must be the listening port; use ${port}-${port}, or a range of at least ${SOURCE_PORTS_MIN} ports`,
    );
  }
  if (df !== 'inherit') return;
  if (min === max) {
    throw new ConfigError(
      `${given}: --df inherit needs sockets with DF and without, a single source port has one setting; use --df set or unset, or a range of at least ${2 * SOURCE_PORTS_MIN} ports`,
    );
  }
  if (max - min + 1 < 2 * SOURCE_PORTS_MIN) {
    throw new ConfigError(
      `${given}: --df inherit needs at least ${2 * SOURCE_PORTS_MIN} source ports, ${SOURCE_PORTS_MIN} with DF and ${SOURCE_PORTS_MIN} without; use a wider range, or --df set or unset`,
    );
  }
}

/** Requires that `vni=` of a peer names a configured VNI. */
function checkPeerVnis(vnis: readonly MergedVni[], layers: readonly Layer[]): void {
  const known = vnis.map((vni) => vni.settings.vni);
  const everywhere = layers.flatMap((layer) => layer.peers);
  for (const { place, text, value } of everywhere) {
    if (value.vni === undefined || known.includes(value.vni)) continue;
    throw new ConfigError(
      `${place} ${text}: VNI ${value.vni} is not configured; configured VNIs: ${known.join(', ') || 'none'}`,
    );
  }
}

/** Refuses the same value of `key` in two VNIs, or twice in one VNI. */
function checkUnshared(vnis: readonly MergedVni[], key: Key, why: string, cure: string): void {
  const seen = new Map<unknown, number>();
  for (const vni of vnis) {
    for (const given of nearest(vni.layers, key)) {
      const before = seen.get(given.value);
      if (before === vni.settings.vni)
        throw new ConfigError(`${given.place} ${given.text}: given twice; give it once`);
      if (before !== undefined) {
        throw new ConfigError(
          `${given.place} ${given.text}: VNIs ${before} and ${vni.settings.vni} both use it, but ${why}; ${cure}`,
        );
      }
      seen.set(given.value, vni.settings.vni);
    }
  }
}

/** Refuses one device name for two roles: TAP, bridge or underlay device. */
function checkDevices(settings: Settings, vnis: readonly MergedVni[]): void {
  const taps = new Map<string, number>();
  for (const {
    settings: { tap, vni },
  } of vnis) {
    const before = taps.get(tap);
    if (before !== undefined) {
      throw new ConfigError(
        `--tap ${tap}: VNIs ${before} and ${vni} both use it; give each VNI its own "tap:" in --config`,
      );
    }
    taps.set(tap, vni);
  }
  for (const {
    settings: { bridge },
    layers,
  } of vnis) {
    if (bridge !== '' && taps.has(bridge)) {
      throw new ConfigError(
        `${place(layers, 'bridge')} ${bridge}: is the TAP of VNI ${taps.get(bridge)}; name another bridge`,
      );
    }
    if (bridge !== '' && bridge === settings.underlayDev) {
      throw new ConfigError(
        `${place(layers, 'bridge')} ${bridge}: is the --underlay-dev; the overlay cannot run over itself`,
      );
    }
  }
  if (taps.has(settings.underlayDev)) {
    const vni = taps.get(settings.underlayDev);
    throw new ConfigError(
      `--underlay-dev ${settings.underlayDev}: is the TAP of VNI ${vni}; the overlay cannot run over itself`,
    );
  }
}

/** Returns the flag, or file, line and key, of the effective value; a message begins with it. */
function place(layers: readonly Layer[], key: Key): string {
  return nearest(layers, key)[0]?.place ?? flagOf(key);
}
