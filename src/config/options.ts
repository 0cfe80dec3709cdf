/**
 * Types of the library's options: the keys of the YAML file, with JavaScript values.
 *
 * The schema validates the values at run time as it does for a file.
 */
import type { Switch, WordsOf } from './schema.js';

export interface VtepOptions extends WordsOf<'vtep'>, WordsOf<'vni'> {
  readonly vnis?: readonly VniOptions[] | undefined;
  /** Peers of every VNI. */
  readonly peers?: readonly (string | PeerOptions)[] | undefined;
}

export interface VniOptions extends WordsOf<'vni'> {
  readonly vni: number;
  readonly peers?: readonly (string | PeerOptions)[] | undefined;
}

export interface PeerOptions {
  /** An address or a DNS name. */
  readonly address: string;
  readonly port?: number | undefined;
  readonly flood?: Switch | undefined;
  /** on: the name stands for many hosts, and each of its addresses is a peer. */
  readonly all?: Switch | undefined;
}
