/** What can stand next; and the two shells, asked for real where they are. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t from 'tap';
import { type Completion, complete } from '../../src/cli/completion.js';
import { makeCommand } from '../../src/cli/flags.js';
import { makeProgram } from '../../src/cli/vtepctl.js';
import { Source } from '../../src/config/source.js';
import { fakeApi } from '../support/fake-api.js';
import { missingTool } from '../support/tool.js';
import { runVtepctl } from '../support/vtepctl.js';

const execute = promisify(execFile);
const DIST = new URL('../../dist/', import.meta.url).pathname;

const asked: object[] = [];
const LIVE = {
  vnis: async () => [{ word: '100', meaning: 'vtep100' }],
  peers: async (options: object) => {
    asked.push(options);
    return [{ word: '192.0.2.11', meaning: '' }];
  },
};
const words = (found: Completion) => (found === 'files' ? found : found.map(({ word }) => word));
const ofCtl = async (...line: string[]) =>
  words(
    await complete(
      makeProgram(
        () => async () => {},
        () => {},
      ),
      line,
      LIVE,
    ),
  );
const ofDaemon = async (...line: string[]) => words(await complete(makeCommand(new Source()), line, LIVE));

t.test('commands, options, values', async (t) => {
  t.strictSame(await ofCtl('c'), ['counters', 'capture', 'completion']);
  t.notOk((await ofCtl('')).includes('complete'), 'what shells call is no command for people');
  t.strictSame(await ofCtl('vni', ''), ['list', 'show', 'add', 'set', 'del']);
  t.strictSame(await ofCtl('--json', 'peer', 'd'), ['del']);
  t.strictSame(await ofCtl('fdb', 'show', '--'), [
    '--vni',
    '--type',
    '--peer',
    '--api',
    '--token-file',
    '--json',
    '--version',
  ]);
  t.strictSame(await ofCtl('fdb', 'show', '--type', ''), ['static', 'dynamic', 'all']);
  t.strictSame(await ofCtl('fdb', 'show', '--type', 'd'), ['dynamic']);
  t.strictSame(await ofCtl('vni', 'set', '100', '--mtu', ''), ['auto']);
  t.strictSame(await ofCtl('capture', '-w', ''), 'files');
  t.strictSame(await ofCtl('--token-file', '/et'), 'files');
  t.strictSame(await ofCtl('completion', ''), ['bash', 'zsh']);
  t.strictSame(await ofCtl('status', ''), []);
  t.strictSame(await ofCtl('nonsense', 'x', ''), []);
});

t.test('what the daemon knows', async (t) => {
  t.strictSame(await ofCtl('peer', 'list', '--vni', ''), ['100']);
  t.strictSame(await ofCtl('vni', 'del', '1'), ['100']);
  t.strictSame(await ofCtl('vni', 'del', '100', ''), [], 'one is enough');
  t.strictSame(await ofCtl('--api', 'unix:/x', 'peer', 'del', '--vni', '100', ''), ['192.0.2.11']);
  t.strictSame(asked.at(-1), { api: 'unix:/x', vni: '100' });
  t.strictSame(await ofCtl('fdb', 'add', '02:00:00:00:00:01', ''), ['192.0.2.11']);
});

t.test('flags of vtepd', async (t) => {
  t.strictSame(await ofDaemon('--log-'), ['--log-level', '--log-format']);
  t.strictSame(await ofDaemon('--df', ''), ['set', 'unset', 'inherit']);
  t.strictSame(await ofDaemon('--config', ''), 'files');
});

t.test('as the shells get it', async (t) => {
  const { place } = await fakeApi(t, {
    'GET /v1/vnis': { body: { items: [{ vni: 100, tap: 'vtep100' }], nextCursor: null } },
  });
  const ask = async (line: string) => (await runVtepctl(line, { env: { VTEPCTL_API: place } })).stdout;
  t.equal(await ask('complete vtepctl -- peer list --vni 1'), 'words\n100\tvtep100\n');
  t.equal((await ask('complete vtepctl -- capture -w')).split('\n')[0], 'words');
  t.equal(
    await ask('complete vtepd -- --log-f'),
    'words\n--log-format\tformat of the log on stderr (default: pretty on a terminal, else json)\n',
  );
});

const BASH = `
source <(vtepctl completion bash)
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
for line in "$@"; do
  COMP_LINE=$line COMP_POINT=\${#line} COMPREPLY=()
  _vtepctl vtepctl 2>/dev/null
  echo "\${COMPREPLY[*]}"
done
`;

t.test('bash', { skip: missingTool('bash') }, async (t) => {
  const { place } = await fakeApi(t, {
    'GET /v1/vnis': { body: { items: [{ vni: 100, tap: 'vtep100' }], nextCursor: null } },
    'GET /v1/vnis/100/peers': { body: { items: [{ address: '2001:db8::12' }], nextCursor: null } },
  });
  const lines = [
    'vtepctl pe',
    'vtepctl vni s',
    'vtepctl peer list --vni ',
    'vtepctl peer del 2001:db',
    'vtepctl capture -w ',
  ];
  const { stdout } = await withVtepctl(
    'bash',
    [...'--noprofile --norc -c'.split(' '), BASH, 'bash', ...lines],
    place,
  );
  t.strictSame(stdout.split('\n'), ['peer', 'show set', '100', 'db8::12', '', '']);
});

/** compadd is what every completion of zsh ends in. */
const ZSH = `
autoload -Uz compinit && compinit -u -D
source <(vtepctl completion zsh)
_describe() { print -l -- $candidates; }
_files() { print files; }
words=(vtepctl vni '') CURRENT=3; _vtepctl
words=(vtepctl peer list --vni '') CURRENT=5; _vtepctl
words=(vtepctl capture -w '') CURRENT=4; _vtepctl
print $_comps[vtepd]
`;

t.test('zsh', { skip: missingTool('zsh') }, async (t) => {
  const { place } = await fakeApi(t, {
    'GET /v1/vnis': { body: { items: [{ vni: 100, tap: 'vtep100' }], nextCursor: null } },
  });
  const { stdout, stderr } = await withVtepctl('zsh', ['-f', '-c', ZSH], place);
  t.equal(stderr, '');
  t.strictSame(stdout.trim().split('\n'), [
    'list:all VNIs',
    'show:one VNI, with all its settings',
    'add:make a VNI, its TAP and its peers',
    'set:change settings of a VNI while it runs',
    'del:remove a VNI, its peers and its TAP',
    '100:vtep100',
    'files',
    '_vtepctl',
  ]);
});

/** Runs a shell that finds the built vtepctl in its PATH. */
function withVtepctl(shell: string, args: string[], place: string) {
  const bin = t.testdir({ vtepctl: t.fixture('symlink', `${DIST}vtepctl.js`) });
  const PATH = `${bin}:${process.env.PATH}`;
  return execute(shell, args, { env: { ...process.env, PATH, VTEPCTL_API: place, HOME: bin } });
}
