/** What the doctor says: one thing that keeps frames from arriving, or soon will. */
export interface Finding {
  /** Stable: 'port_taken', 'firewall', … */
  readonly code: string;
  /** What is so, with names and numbers. */
  readonly what: string;
  /** Why it hurts. */
  readonly why: string;
  /** The command that mends it, or what to do. */
  readonly cure: string;
}
