/** Rules of the host, with a reader and notifications that the test controls. */
import t, { type Test } from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { ERRNO } from '../../src/abi/errno.js';
import { HostError } from '../../src/host/host-error.js';
import { HostRules } from '../../src/host/host-rules.js';
import type { PolicyRule } from '../../src/host/netlink/rules.js';
import type { ProgramHook, RulesReader } from '../../src/host/rules/read.js';
import { Ruleset } from '../../src/host/rules/ruleset.js';
import { eventually } from '../support/wait.js';

const shim = loadShim();
const NEVER_MS = 1_000_000;

async function make(t: Test, changes: Partial<Shim> = {}, pollMs = NEVER_MS) {
  const fd = shim.eventCreate();
  const asked: number[][] = [];
  const host = {
    nft: '' as string | Ruleset,
    policy: [] as PolicyRule[],
    legacy: '' as string | Error,
    programs: [] as ProgramHook[],
    reads: 0,
  };
  const reader: RulesReader = {
    nft: async () => {
      host.reads++;
      if (typeof host.nft === 'string' && host.nft !== '') throw new HostError(host.nft);
      return typeof host.nft === 'string' ? new Ruleset([]) : host.nft;
    },
    policyRules: async () => host.policy,
    legacyTables: () => {
      if (host.legacy instanceof Error) throw host.legacy;
      return host.legacy;
    },
    programs: () => host.programs,
  };
  const netlinkOpen = (protocol: number, groups: Int32Array) => {
    asked.push([protocol, ...groups]);
    return fd;
  };
  const fakes = { ...shim, netlinkOpen, watchClear: (fd: number) => shim.eventClear(fd), ...changes };
  const rules = new HostRules(fakes, reader, pollMs);
  let changed = 0;
  t.teardown(() => rules.stop());
  await rules.start(() => changed++);
  return { rules, host, asked, notify: () => shim.eventFire(fd), changes: () => changed };
}

t.test('subscribes to nftables, reads at the start and after notifications', async (t) => {
  const { rules, host, asked, notify, changes } = await make(t);
  t.same(asked, [[12, 7]], 'NETLINK_NETFILTER, NFNLGRP_NFTABLES');
  t.ok(rules.isStarted);
  t.same([host.reads, changes()], [1, 0]);
  host.nft = new Ruleset([{ chain: { family: 'ip', table: 'f', name: 'c', hook: 'output', prio: 0 } }]);
  for (let time = 0; time < 20; time++) notify();
  await eventually('the change', () => changes() === 1);
  t.equal(host.reads, 2, 'many notifications cause one read');
  t.equal(rules.ruleset.chains.length, 1);
  t.same(rules.unread, []);
});

t.test('what cannot be read is named until it can', async (t) => {
  const { rules, host, notify, changes } = await make(t);
  host.nft = 'the rules of nftables cannot be read: nft is not installed';
  notify();
  await eventually('the change', () => changes() === 1);
  t.same(rules.unread, [host.nft]);
  host.nft = '';
  notify();
  await eventually('the change', () => changes() === 2);
  t.same(rules.unread, []);
});

t.test('a reading that failed is repeated without a notification', async (t) => {
  const { rules, host, notify, changes } = await make(t, {}, 10);
  host.nft = 'the rules of nftables cannot be read: nft is not installed';
  notify();
  await eventually('the failure', () => rules.unread.length === 1);
  host.nft = '';
  const before = changes();
  await eventually('the rules', () => rules.unread.length === 0 && changes() > before);
});

t.test('legacy iptables and programs are looked at again; only changes are reported', async (t) => {
  const { rules, host, changes } = await make(t, {}, 10);
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.same([host.reads, changes()], [1, 0], 'nothing has changed');
  host.legacy = 'ip filter';
  await eventually('the table', () => changes() === 1);
  t.equal(rules.legacyTables, 'ip filter');
  host.legacy = new HostError('/proc/net/ip_tables_names cannot be read (EACCES)');
  await eventually('the refusal', () => changes() === 2);
  t.match(rules.unread, [/EACCES/]);
  host.legacy = '';
  host.programs = ['egress'];
  await eventually('the program', () => changes() === 3);
  t.same([rules.unread, rules.programs], [[], ['egress']]);
});

t.test('without notifications nftables is read every time; without nftables never', async (t) => {
  const refused = await make(t, { netlinkOpen: () => -ERRNO.EPERM }, 10);
  await eventually('another read', () => refused.host.reads >= 2);
  const none = await make(t, { netlinkOpen: () => -ERRNO.EPROTONOSUPPORT }, 10);
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(none.host.reads, 1);
});

t.test('rules of policy routing are read on request, also when the kernel refuses', async (t) => {
  const { rules, host } = await make(t);
  host.policy = [{ priority: 100 } as PolicyRule];
  t.same(rules.policyRules, []);
  await rules.readPolicyRules();
  t.equal(rules.policyRules.length, 1);
});
