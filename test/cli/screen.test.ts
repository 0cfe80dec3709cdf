/**
 * The built vtepctl on a terminal from script(1), and on a pipe that its reader closes.
 *
 * On the terminal vtepctl draws, follows the size, and restores the terminal at exit.
 */
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { counters, STATUS, vniCounters } from '../support/counters.js';
import { fakeApi } from '../support/fake-api.js';
import { missingTool } from '../support/tool.js';
import { eventually } from '../support/wait.js';

const execute = promisify(execFile);
const VTEPCTL = new URL('../../dist/vtepctl.js', import.meta.url).pathname;
const ENTER = '\x1b[?1049h';
const LEAVE = '\x1b[?1049l';
const noScript = missingTool('script');

class Terminal {
  text = '';
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<unknown>;

  constructor(place: string) {
    // After vtepctl has ended, stty prints the state of the terminal.
    const command = `stty cols 60 rows 20; ${process.execPath} ${VTEPCTL} --api ${place} top & echo pid=$! tty=$(tty); fg >/dev/null; echo code=$?; stty -a`;
    this.#child = spawn('script', ['-qfc', `bash -mc '${command}'`, '/dev/null'], {
      env: { ...process.env, SHELL: '/bin/bash' },
    });
    this.#child.stdout.on('data', (bytes) => (this.text += bytes));
    this.#ended = new Promise((resolve) => this.#child.once('close', resolve));
  }

  get pid(): number {
    return Number(/pid=(\d+)/.exec(this.text)?.[1]);
  }

  get tty(): string {
    return /tty=(\S+)/.exec(this.text)?.[1] ?? '';
  }

  shows(what: string | RegExp): Promise<unknown> {
    return eventually(`the terminal to show ${what}`, async () => this.text.search(what) >= 0);
  }

  type(keys: string): void {
    this.#child.stdin.write(keys);
  }

  async end(): Promise<void> {
    await this.#ended;
  }
}

const ANSWERS = {
  'GET /v1/status': { body: STATUS },
  'GET /v1/counters': { body: counters([vniCounters(100)]) },
};

async function start(t: Test): Promise<Terminal> {
  const { place } = await fakeApi(t, ANSWERS);
  const terminal = new Terminal(place);
  await terminal.shows('VNI 100');
  return terminal;
}

function assertRestored(t: Test, { text }: Terminal): void {
  t.ok(text.indexOf(ENTER) >= 0, 'the alternate screen was entered');
  t.ok(text.lastIndexOf(LEAVE) > text.lastIndexOf(ENTER), 'the alternate screen was left');
  const after = text.slice(text.lastIndexOf('code='));
  t.match(after, / icanon /, 'canonical mode is restored');
  t.match(after, / echo /, 'echo is restored');
}

t.test('the terminal is restored after q, Ctrl-C and SIGTERM', { skip: noScript }, async (t) => {
  const endings: [string, (terminal: Terminal) => void][] = [
    ['q', (terminal) => terminal.type('q')],
    ['Ctrl-C', (terminal) => terminal.type('\x03')],
    ['SIGTERM', ({ pid }) => process.kill(pid, 'SIGTERM')],
  ];
  for (const [name, end] of endings) {
    const terminal = await start(t);
    end(terminal);
    await terminal.end();
    t.match(terminal.text, /code=0/, `${name} ends vtepctl with status 0`);
    assertRestored(t, terminal);
  }
});

t.test('the view follows the size of the terminal', { skip: noScript }, async (t) => {
  const terminal = await start(t);
  t.match(terminal.text, 'VNI, PEER ', 'the table is drawn');
  t.notMatch(terminal.text, 'CHURN/S', 'columns beyond the width are cut off');
  await execute('stty', ['-F', terminal.tty, 'cols', '100', 'rows', '30']);
  await terminal.shows('CHURN/S');
  terminal.type('q');
  await terminal.end();
});

t.test('a closed pipe is not an error', async (t) => {
  const { place } = await fakeApi(t, {
    'GET /v1/events': {
      stream: (response) => {
        const event = { at: '2026-01-01T00:00:00Z', type: 'vni', vni: 100, action: 'added' };
        const timer = setInterval(() => response.write(`data: ${JSON.stringify(event)}\n\n`), 10);
        response.once('close', () => clearInterval(timer));
      },
    },
  });
  const command = `${process.execPath} ${VTEPCTL} --api ${place} events | head -n 2; echo \${PIPESTATUS[0]}`;
  const { stdout, stderr } = await execute('bash', ['-c', command]);
  t.match(stdout, / vni vni 100 action added\n.* vni vni 100 action added\n0\n$/);
  t.equal(stderr, '');
});
