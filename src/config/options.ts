/**
 * Options of the library: the words of the YAML file, as values. They are judged by the schema like those of a file; the
 * types only help to write them.
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
}
