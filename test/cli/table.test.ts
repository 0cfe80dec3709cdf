/** Text tables, durations and counts. */
import t from 'tap';
import { formatCount, formatDuration, formatTable } from '../../src/cli/table.js';

t.test('a table without rows is empty', async (t) => t.equal(formatTable(['A'], []), ''));

t.test('numbers are right-aligned, text left-aligned, without trailing spaces', async (t) => {
  const table = formatTable(
    ['NAME', 'N', 'NOTE'],
    [
      ['a', 1, null],
      ['long name', 1234, 'x'],
    ],
  );
  t.equal(table, ['NAME          N  NOTE', 'a             1  -', 'long name  1234  x', ''].join('\n'));
});

t.test('a duration has its two largest units', async (t) => {
  const rows: [number, string][] = [
    [0, '0s'],
    [0.9, '0s'],
    [59, '59s'],
    [60, '1m'],
    [3599, '59m 59s'],
    [3600, '1h'],
    [3605, '1h 5s'],
    [90_061, '1d 1h'],
  ];
  for (const [seconds, text] of rows) t.equal(formatDuration(seconds), text);
});

t.test('a count has its noun in singular or plural', async (t) => {
  t.equal(formatCount(1, 'packet'), '1 packet');
  t.equal(formatCount(0, 'packet'), '0 packets');
  t.equal(formatCount(2, 'entry', 'entries'), '2 entries');
});
