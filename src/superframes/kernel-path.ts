/**
 * Judges whether packets may pass the rules of this host by (`--kernel-path`).
 *
 * Two shortcuts lead around the host's stack: superframes that leave whole, and TCP flows through
 * the kernel. With `auto` a shortcut is used only while no rule of the host does anything to the
 * packets that would take it: rules of nftables and of policy routing (host/rules), legacy iptables,
 * BPF programs on the control group. With `on` rules are not read.
 *
 * A verdict is kept until rules or traffic change.
 */
import type { HostRules } from '../host/host-rules.js';
import type { OuterTraffic, Shortcut } from '../host/rules/outer-traffic.js';
import { describePolicyRule, policyRulesAgainstShortcut } from '../host/rules/policy-rules.js';
import type { ProgramHook } from '../host/rules/read.js';
import { describeObstacle, rulesAgainstShortcut } from '../host/rules/shortcut-rules.js';

/** Reason that stands against a shortcut. */
export interface Against {
  /** The rule, for log and status. */
  readonly why: string;
  readonly cure: string;
}

/** Datagrams of a shortcut; the peers possibly listen on several ports. */
export interface PathTraffic extends Omit<OuterTraffic, 'port'> {
  readonly ports: readonly number[];
}

/** Distinct ports of peers whose datagrams are followed; beyond it, nothing can be proved. */
const PORTS_MAX = 16;

const HOOKS: Readonly<Record<Shortcut, readonly ProgramHook[]>> = {
  superframes: ['sendmsg', 'egress'],
  flows: ['sendmsg', 'egress', 'ingress'],
};

export class KernelPath {
  readonly mode: 'auto' | 'on';
  readonly #rules: HostRules;
  readonly #verdicts = new Map<Shortcut, Against | undefined>();
  #traffic: PathTraffic | undefined;

  constructor(mode: 'auto' | 'on', rules: HostRules) {
    this.mode = mode;
    this.#rules = rules;
  }

  /**
   * Judges again for this traffic. The first call begins to follow the rules.
   *
   * @param changed called when rules have changed, so that `against` possibly answers differently
   */
  async judge(traffic: PathTraffic, changed: () => void): Promise<void> {
    if (this.mode === 'on') return;
    this.#traffic = traffic;
    this.#verdicts.clear();
    if (this.#rules.isStarted) await this.#rules.readPolicyRules();
    else
      await this.#rules.start(() => {
        this.#verdicts.clear();
        changed();
      });
    this.#verdicts.clear();
  }

  /** Returns what stands against a shortcut, by the rules and the traffic known at this moment. */
  against(shortcut: Shortcut): Against | undefined {
    if (this.mode === 'on' || this.#traffic === undefined) return undefined;
    if (!this.#verdicts.has(shortcut)) this.#verdicts.set(shortcut, this.#find(shortcut, this.#traffic));
    return this.#verdicts.get(shortcut);
  }

  async close(): Promise<void> {
    await this.#rules.stop();
  }

  #find(shortcut: Shortcut, traffic: PathTraffic): Against | undefined {
    const { unread, legacyTables, programs } = this.#rules;
    if (unread.length > 0) return { why: unread[0], cure: `make them readable, ${OR_ON}` };
    if (legacyTables !== '')
      return {
        why: `rules of legacy iptables cannot be judged (tables ${legacyTables})`,
        cure: `use iptables-nft and remove the tables, ${OR_ON}`,
      };
    const hook = programs.find((hook) => HOOKS[shortcut].includes(hook));
    if (hook !== undefined)
      return {
        why: `a BPF program on the control group of vtepd would not see them (hook ${hook})`,
        cure: `remove the program, ${OR_ON}`,
      };
    if (traffic.ports.length > PORTS_MAX)
      return {
        why: `peers use ${traffic.ports.length} UDP ports, more than the ${PORTS_MAX} for which rules are judged`,
        cure: `give the peers one port, ${OR_ON}`,
      };
    return this.#ruleAgainst(shortcut, traffic);
  }

  #ruleAgainst(shortcut: Shortcut, { ports, ...rest }: PathTraffic): Against | undefined {
    const { ruleset, policyRules } = this.#rules;
    for (const port of ports) {
      const traffic: OuterTraffic = { ...rest, port };
      const obstacles = rulesAgainstShortcut(ruleset, traffic, shortcut);
      const more = obstacles.length < 2 ? '' : ` and ${obstacles.length - 1} more`;
      if (obstacles.length > 0)
        return {
          why: `${describeObstacle(obstacles[0])}${more} would not apply to them`,
          cure: `exclude UDP port ${port} from the rule, ${OR_ON}`,
        };
      // Without an obstacle, no rule sets a mark.
      const [rule] = policyRulesAgainstShortcut(policyRules, traffic, []);
      if (rule !== undefined)
        return {
          why: `${describePolicyRule(rule)} would not apply to them`,
          cure: `remove the rule, ${OR_ON}`,
        };
    }
    return undefined;
  }
}

const OR_ON = 'or set --kernel-path on if it need not apply to VXLAN';
