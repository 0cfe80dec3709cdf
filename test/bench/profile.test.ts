/**
 * Classification of stacks that perf prints.
 */
import t from 'tap';
import { momentOf } from '../../bench/profile/parts.js';
import { countsOf, totalOf } from '../../bench/profile/perf.js';

const KERNEL = '([kernel.kallsyms])';
const ENTRY = [
  `  ffffffff821ef691 do_syscall_64 ${KERNEL}`,
  `  ffffffff81000130 entry_SYSCALL_64_after_hwframe ${KERNEL}`,
];
const inCall = (name: string, ...symbols: string[]) => [
  ...symbols.map((symbol) => `  ffffffff816b87ee ${symbol} ${KERNEL}`),
  `  ffffffff816b96fa ${name} ${KERNEL}`,
  ...ENTRY,
];

t.test('a sample in the kernel is classified by system call and kind of work', async (t) => {
  t.same(momentOf(inCall('do_readv', '_copy_to_iter', 'tun_do_read')), { part: 'readv', kind: 'copy' });
  t.same(momentOf(inCall('__x64_sys_sendmmsg', 'udp_sendmsg')), { part: 'sendmmsg', kind: 'own' });
  t.same(momentOf(inCall('do_writev', 'tcp_v4_rcv', 'netif_receive_skb', 'tun_get_user')), {
    part: 'writev',
    kind: 'deliver',
  });
  t.same(momentOf(inCall('do_epoll_wait', 'schedule')), { part: 'epoll_wait', kind: 'own' });
  t.same(momentOf(inCall('__x64_sys_sched_yield')), { part: 'epoll_wait', kind: 'own' });
  t.same(momentOf(inCall('__x64_sys_futex')), { part: 'rest', kind: 'own' });
});

t.test('a sample in user space is classified by the owner of the code', async (t) => {
  const part = (leaf: string) => momentOf([`  7f00 ${leaf}`]).part;
  t.equal(
    part('LazyCompile:*forward file:///dist/switch/forward/encap.js:55 (/tmp/perf-42.map)'),
    'JavaScript',
  );
  t.equal(part('Builtins_InterpreterEntryTrampoline (/usr/bin/node)'), 'JavaScript');
  t.equal(part('Builtins_HandleApiCall (/usr/bin/node)'), 'Node');
  t.equal(part('napi_get_typedarray_info (/usr/bin/node)'), 'Node');
  t.equal(part('add_blocks_avx2 (/x/vtepd_shim.node)'), 'shim');
  t.equal(part('__memmove_avx512_unaligned_erms (/usr/lib/libc.so.6)'), 'shim');
  t.equal(part('__sendmmsg (/usr/lib/libc.so.6)'), 'sendmmsg');
  t.equal(part('__vdso_clock_gettime ([vdso])'), 'epoll_wait');
});

t.test('samples are counted by thread; a sample without a stack is classified by its leaf', async (t) => {
  const stacks = ` 42 \n${inCall('do_readv').join('\n')}\n\n 42 \n\n 43 \n${inCall('do_writev').join('\n')}\n`;
  const leaf = `ffffffff816b96fa do_writev ${KERNEL}`;
  const leaves = `   42  ffffffff816b96fa do_readv ${KERNEL}\n   42  7f00 push (/x/vtepd_shim.node)\n   43  ${leaf}\n`;
  const counts = countsOf(stacks, leaves);
  t.same([...counts.keys()], [42, 43]);
  t.match(counts.get(42), { readv: { own: 1 }, shim: { own: 1 } });
  t.equal(totalOf(counts.get(43)!), 1);
});
