/** One finding of the doctor: a present or imminent obstacle to frame delivery. */
export interface Finding {
  /** Stable code: 'port_taken', 'firewall', … */
  readonly code: string;
  /** The fact, with names and numbers. */
  readonly what: string;
  /** The consequence. */
  readonly why: string;
  /** The command or action that fixes it. */
  readonly cure: string;
}
