/** Names of peers, for metrics and for the counters as JSON: how their lookups go. */
import type { StatusInfo } from './deps.js';
import { escaped, type Family, sample } from './exposition.js';

/** What is known of one name. */
export interface PeerName {
  readonly name: string;
  readonly addresses: readonly { readonly text: string }[];
  /** Why the last lookup failed; '' it did not. */
  readonly error: string;
  /** Lookups that failed. */
  readonly failures: number;
  /** When it resolved last, ms since the epoch; 0: never. */
  readonly lastSuccessMs: number;
}

export const NAME_FAMILIES: readonly Family[] = [
  {
    name: 'vtepd_peer_resolve_failures_total',
    kind: 'counter',
    help: 'Lookups of the peer name that failed.',
    samples: ({ status }, name) => namesOf(status).map((of) => sample(name, labels(of), of.failures)),
  },
  {
    name: 'vtepd_peer_resolve_last_success_timestamp_seconds',
    kind: 'gauge',
    help: 'When the peer name last resolved; 0: never.',
    samples: ({ status }, name) =>
      namesOf(status).map((of) => sample(name, labels(of), of.lastSuccessMs / 1000)),
  },
];

export function namesView(status: StatusInfo) {
  return namesOf(status).map(({ name, addresses, failures, lastSuccessMs, error }) => ({
    name,
    addresses: addresses.map(({ text }) => text),
    failures,
    lastSuccess: lastSuccessMs > 0 ? new Date(lastSuccessMs).toISOString() : null,
    error,
  }));
}

function namesOf({ names = [] }: StatusInfo): readonly PeerName[] {
  return names;
}

function labels({ name }: PeerName): string {
  return `name="${escaped(name)}"`;
}
