/**
 * `npm start`: sets up, then runs the two-host demo, or the daemon if it has flags.
 *
 *     npm start                                          the demo
 *     npm start -- --vni 100 --peer 192.168.80.11        the daemon
 *
 * Both run in this process, which passes signals, terminal and exit code on to them.
 */
import { needRoot, root, setUp } from './set-up.mjs';

const flags = process.argv.slice(2);
const executable = new URL(`file://${root}/dist/vtepd.js`);

if (flags.length > 0 && flags[0] !== '--once') {
  setUp({ tools: process.getuid() === 0 ? ['ip'] : [] });
  process.argv = [process.argv[0], executable.pathname, ...flags];
  await import(executable.href);
} else {
  needRoot('the demo');
  setUp({ tools: ['ip', 'ping', 'tcpdump', 'iperf3', 'curl'] });
  const { runDemo } = await import('./demo/demo.mjs');
  process.exitCode = await runDemo({ vtepd: executable.pathname, once: flags[0] === '--once' });
}
