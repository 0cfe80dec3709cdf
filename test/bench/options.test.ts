/**
 * Command line of the benchmark: invalid arguments are refused with one line.
 */
import t from 'tap';
import { isWanted, parseOptions } from '../../bench/options.js';

t.test('errors name the flag, the value and the allowed values', async (t) => {
  const refused = [
    [['--only', 'tcp9'], /^--only tcp9: one of lab, tcp, .* tcp1, /],
    [['--only', ''], /^--only : one of /],
    [['--rounds', '0'], /^--rounds 0: a whole number from 1 to 600$/],
    [['--seconds', '1.5'], /^--seconds 1\.5: a whole number/],
    [['--save', '--short'], /^--save: .* whole runs/],
    [['--save', '--only', 'tcp'], /^--save: .* whole runs/],
    [['--from', 'x.json', '--only', 'tcp'], /^--from --only: /],
    [['--from', 'x.json', '--rounds', '3'], /^--from --rounds: /],
    [['--from', 'x.json', '--short'], /^--from --short: /],
    [['--fast'], /--fast/],
  ] as const;
  for (const [args, message] of refused) t.throws(() => parseOptions(args), { message }, args.join(' '));
});

t.test('a short run is one round of one second', async (t) => {
  t.match(parseOptions(['--short']), { rounds: 1, seconds: 1, heapSeconds: 2 });
  t.match(parseOptions([]), { rounds: 5, seconds: 3, heapSeconds: 60 });
  t.match(parseOptions(['--short', '--rounds', '2']), { rounds: 2 }, '--rounds has precedence');
});

t.test('--only and --peers select what is measured', async (t) => {
  const wanted = (args: string[], id: string, group = '') => isWanted(parseOptions(args), id, group);
  t.equal(wanted([], 'tcp1', 'tcp'), true, 'all measurements of the lab are selected by default');
  t.equal(wanted([], 'heap'), true);
  t.equal(wanted([], 'peers', 'peers'), false, 'other overlays need --peers or --only');
  t.equal(wanted(['--peers'], 'peers', 'peers'), true);
  t.equal(wanted(['--only', 'peers'], 'peers', 'peers'), true);
  t.equal(wanted(['--only', 'tcp'], 'tcp4', 'tcp'), true, 'a group selects its members');
  t.equal(wanted(['--only', 'tcp1'], 'tcp4', 'tcp'), false, 'a name selects no other member of the group');
  t.equal(wanted(['--only', 'lab'], 'tcp4', 'tcp'), true);
  t.equal(wanted(['--only', 'lab'], 'heap'), false);
  t.equal(wanted([], 'floods'), false, 'floods need --only');
  t.equal(wanted(['--only', 'floods'], 'floods'), true);
});
