/**
 * Warnings and notices: reports about a lasting condition, with its consequence and cure.
 *
 * A warning is a fault that needs correction. A notice is a condition that has a good
 * reason: it is shown, but neither alerts nor makes the doctor fail. The table has every code;
 * docs/interface.md has the meanings. The status and the metrics show a report while its condition
 * holds.
 */

export interface ReportProperties {
  readonly kind: 'warning' | 'notice';
  /** True: `/readyz` is 503 while a report of this code holds. */
  readonly blocksReady?: true;
}

const TABLE = {
  device_missing: { kind: 'warning', blocksReady: true },
  local_address_missing: { kind: 'warning', blocksReady: true },
  route_through_overlay: { kind: 'warning' },
  host_obeys_overlay: { kind: 'warning' },
  twin: { kind: 'warning' },
  offload_refused: { kind: 'warning' },
  kernel_path_unused: { kind: 'warning' },
  overlay_mtu_too_large: { kind: 'warning' },
  peer_unresolved: { kind: 'warning' },
  peer_resolve_stale: { kind: 'warning' },
  peer_duplicate: { kind: 'warning' },
  token_unsafe: { kind: 'warning' },
  state_overrides: { kind: 'warning' },
  state_not_kept: { kind: 'warning' },
  reload_failed: { kind: 'warning' },
  restart_needed: { kind: 'warning' },
  kernel_path_off: { kind: 'notice' },
  offload_not_permitted: { kind: 'notice' },
  queues_unsteered: { kind: 'notice' },
  tap_elsewhere: { kind: 'notice' },
  own_address_is_peer: { kind: 'notice' },
  deprecated_option: { kind: 'notice' },
} as const satisfies Record<string, ReportProperties>;

export type ReportCode = keyof typeof TABLE;

/** Code → properties. */
export const REPORTS: Readonly<Record<ReportCode, ReportProperties>> = TABLE;

/** Each text is a part of a sentence, without a full stop. */
export interface Report {
  readonly code: ReportCode;
  /** The fact: what happened, to which thing and value. */
  readonly detail: string;
  /** The consequence. */
  readonly why: string;
  /** Remedy. */
  readonly cure: string;
}

/** A reason for which the VTEP is not ready. */
export interface NotReadyReason {
  readonly code: string;
  readonly detail: string;
}

/** Returns the codes of a kind, in the order of the table. */
export function codesOf(kind: ReportProperties['kind']): ReportCode[] {
  return (Object.keys(REPORTS) as ReportCode[]).filter((code) => REPORTS[code].kind === kind);
}

/** Returns the reports of a kind, in their order. */
export function reportsOf(kind: ReportProperties['kind'], reports: readonly Report[]): Report[] {
  return reports.filter(({ code }) => REPORTS[code].kind === kind);
}

/** Returns the reports that block readiness as reasons. */
export function blockingReasons(reports: readonly Report[]): NotReadyReason[] {
  return reports
    .filter(({ code }) => REPORTS[code].blocksReady)
    .map(({ code, detail }) => ({ code, detail }));
}

/** Returns a report as one line for people: fact, consequence, cure. */
export function reportText({ detail, why, cure }: Omit<Report, 'code'>): string {
  return `${detail}; ${why}; ${cure}`;
}
