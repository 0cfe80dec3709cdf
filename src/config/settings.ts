/**
 * Types of a validated configuration.
 *
 * Flags, the YAML file, REST bodies and library options are all converted to `Settings`, whose
 * fields the schema defines. `Settings` objects are frozen. '' means none for a name, MAC or file;
 * `ageingS` 0 means never.
 */
import type { FieldsOf } from './schema.js';

export interface Settings extends FieldsOf<'vtep'>, Omit<FieldsOf<'program'>, 'state'> {
  readonly vnis: readonly VniSettings[];
  readonly state: StateFile;
}

/** File that keeps the changes made through the API. */
export interface StateFile {
  /** Path; '' for none. */
  readonly path: string;
  /**
   * True if flags or configuration file give the path. In that case vtepd does not start when the
   * state file cannot be used.
   */
  readonly named: boolean;
}

export interface VniSettings extends FieldsOf<'vni'> {
  readonly vni: number;
  readonly peers: readonly PeerSettings[];
}

export interface PeerSettings {
  /** An address, or a DNS name. */
  readonly host: string;
  readonly port: number;
  /** True if the peer is in the flood list. */
  readonly flood: boolean;
  /**
   * Present: the name stands for many hosts, and each of its addresses is a peer. Absent: the name is
   * one host, and one of its addresses is the peer.
   */
  readonly all?: true;
}
