/**
 * The doctor: examines machine and daemon and lists obstacles to frame delivery.
 *
 * The doctor changes nothing. The daemon runs it for `GET /v1/doctor`. If no daemon answers,
 * vtepctl runs the doctor itself, and the doctor looks for reasons why no daemon can run.
 */
import { portHolder } from '../host/port-holder.js';
import {
  checkBridgeMtu,
  checkChecksums,
  checkConntrack,
  checkFromOverlay,
  checkNotices,
  checkObedience,
  checkPortMix,
  checkRedirects,
  checkRpFilter,
  checkSilentPeers,
  checkStrangers,
  checkStrayVni,
  checkUnsendable,
  checkWarnings,
} from './checks.js';
import type { DaemonFacts, MachineFacts } from './facts.js';
import type { Finding } from './finding.js';
import { checkFirewall } from './firewall.js';
import { readMachine } from './machine.js';

const STANDARD_PORT = 4789;

/**
 * @param daemon facts about the daemon; undefined: no daemon answers
 * @returns findings, most direct causes first, then notices
 */
export async function examine(daemon?: DaemonFacts): Promise<Finding[]> {
  const devices = daemon?.stackDevices.map(({ name }) => name);
  const machine = await readMachine(daemon?.port ?? STANDARD_PORT, devices);
  if (daemon !== undefined) return judgeAll(machine, daemon);
  const holder = await portHolder(STANDARD_PORT);
  return [
    ...(holder === undefined ? [] : [portInUse(holder)]),
    ...checkFirewall(machine.ruleset, STANDARD_PORT),
  ];
}

/** Runs all checks of a machine with a running daemon. */
export function judgeAll(machine: MachineFacts, daemon: DaemonFacts): Finding[] {
  const { port } = daemon;
  return [
    ...checkWarnings(daemon),
    ...checkFirewall(machine.ruleset, port),
    ...checkUnsendable(daemon),
    ...checkSilentPeers(daemon),
    ...checkStrayVni(daemon),
    ...checkStrangers(daemon),
    ...checkFromOverlay(daemon),
    ...checkBridgeMtu(machine, daemon),
    ...checkRpFilter(machine, daemon),
    ...checkConntrack(machine, port),
    ...checkChecksums(machine, daemon),
    ...checkPortMix(machine, port),
    ...checkNotices(daemon),
    ...checkRedirects(machine),
    ...checkObedience(machine, daemon),
  ];
}

function portInUse({ holder, cure }: { holder: string; cure: string }): Finding {
  return {
    code: 'port_taken',
    what: `UDP port ${STANDARD_PORT} is taken: ${holder} holds it`,
    why: 'vtepd cannot receive there',
    cure,
  };
}
