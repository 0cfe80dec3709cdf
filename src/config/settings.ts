/**
 * A validated configuration: the one shape that flags, the YAML file, REST bodies and options of the library are turned
 * into. Its fields are rows of the schema, where their meaning stands. Frozen once made.
 *
 * '' means none, of a name, a MAC or a file; `ageingS` 0 means never. Peers are addresses or DNS names, as given.
 */
import type { FieldsOf } from './schema.js';

export interface Settings extends FieldsOf<'vtep'>, Omit<FieldsOf<'program'>, 'state'> {
  readonly vnis: readonly VniSettings[];
  readonly state: StateFile;
}

/** File of the changes made through the API. */
export interface StateFile {
  /** '' none. */
  readonly path: string;
  /** True when it was asked for: a start without it would be wrong. */
  readonly named: boolean;
}

export interface VniSettings extends FieldsOf<'vni'> {
  readonly vni: number;
  readonly peers: readonly PeerSettings[];
}

export interface PeerSettings {
  /** An address, or a DNS name that is resolved at start. */
  readonly host: string;
  readonly port: number;
  /** BUM frames go to it. */
  readonly flood: boolean;
}
