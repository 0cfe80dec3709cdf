/**
 * What a program gives to start a VTEP: the words of the YAML file, as values. They are judged by the schema like those
 * of a file; these types only help to write them.
 */

export interface VtepOptions extends VniWords {
  readonly vnis?: readonly VniOptions[] | undefined;
  /** Of every VNI. */
  readonly peers?: readonly (string | PeerOptions)[] | undefined;
  readonly local?: string | readonly string[] | undefined;
  readonly underlayDev?: string | undefined;
  readonly port?: number | undefined;
  /** `MIN-MAX`. */
  readonly sourcePorts?: string | undefined;
  readonly df?: 'set' | 'unset' | 'inherit' | undefined;
  readonly ttl?: number | undefined;
  readonly tos?: number | 'inherit' | undefined;
  readonly mssClamp?: 'auto' | 'off' | undefined;
  readonly udpChecksum?: Switch | undefined;
  readonly flowOffload?: Switch | undefined;
  readonly strictHeader?: Switch | undefined;
  readonly io?: 'auto' | 'batch' | 'dgram' | undefined;
  readonly workers?: number | undefined;
}

export interface VniOptions extends VniWords {
  readonly vni: number;
  readonly peers?: readonly (string | PeerOptions)[] | undefined;
}

export interface PeerOptions {
  /** An address or a DNS name. */
  readonly address: string;
  readonly port?: number | undefined;
  readonly flood?: Switch | undefined;
}

/** Settings of one VNI, or of all. */
interface VniWords {
  readonly tap?: string | undefined;
  readonly bridge?: string | undefined;
  /** `ADDRESS/LENGTH`. */
  readonly address?: string | readonly string[] | undefined;
  readonly mac?: string | undefined;
  readonly mtu?: number | 'auto' | undefined;
  readonly learning?: Switch | undefined;
  /** Seconds. */
  readonly ageing?: number | undefined;
  readonly fdbLimit?: number | undefined;
  readonly flood?: Switch | undefined;
  readonly accept?: 'peers' | 'any' | undefined;
  readonly vlan?: 'pass' | 'strip' | 'drop' | undefined;
}

type Switch = boolean | 'on' | 'off';
