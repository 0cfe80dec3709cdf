/** Lookup state of peer names, as metrics and as JSON. */
import type { PeerName, StatusInfo } from './deps.js';
import { escaped, type Family, sample } from './exposition.js';

export const NAME_FAMILIES: readonly Family[] = [
  {
    name: 'vtepd_peer_resolve_failures_total',
    kind: 'counter',
    help: 'Failed lookups of the peer name.',
    samples: ({ status }, name) => namesOf(status).map((of) => sample(name, labels(of), of.failures)),
  },
  {
    name: 'vtepd_peer_resolve_last_success_timestamp_seconds',
    kind: 'gauge',
    help: 'Time of the last successful lookup of the peer name; 0: never.',
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
