/** One finding of the doctor: a present or imminent obstacle to frame delivery, or a notice. */
export interface Finding {
  /** True: worth knowing, but no problem; it does not change the exit status. */
  readonly notice?: true;
  /** Stable code: 'port_taken', 'firewall', … */
  readonly code: string;
  /** The fact, with names and numbers. */
  readonly what: string;
  /** The consequence. */
  readonly why: string;
  /** The command or action that fixes it. */
  readonly cure: string;
}
