/** The output of the logger in a process: lines on stderr, nothing on stdout. */
import { spawnSync } from 'node:child_process';
import t from 'tap';

const LOG = new URL('../../src/log/log.ts', import.meta.url).href;

function logged(level: string, format: string): { stdout: string; lines: string[] } {
  const script = `
    const { createLogger } = await import(${JSON.stringify(LOG)});
    const log = createLogger(${JSON.stringify(level)}, ${JSON.stringify(format)});
    log.debug('quiet');
    log.warn({ vni: 100 }, 'loud');
    process.exit(0);
  `;
  const child = spawnSync(process.execPath, [...process.execArgv, '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  return { stdout: child.stdout, lines: child.stderr.split('\n').filter((line) => line !== '') };
}

t.test('format json has one line per message, written before the process exits', async (t) => {
  const { stdout, lines } = logged('info', 'json');
  t.equal(stdout, '');
  t.equal(lines.length, 1, 'lines below the level are not written');
  const { time, ...rest } = JSON.parse(lines[0]);
  t.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  t.strictSame(rest, { level: 'warn', vni: 100, msg: 'loud' });
});

t.test('format pretty has time, level and message', async (t) => {
  const { stdout, lines } = logged('debug', 'pretty');
  t.equal(stdout, '');
  t.match(lines[0], /^\[\d\d:\d\d:\d\d\.\d{3}\] DEBUG: quiet$/);
  t.match(lines[1], /WARN: loud$/);
});
