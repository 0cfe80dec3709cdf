/**
 * Completion: candidates for the next word, and the scripts in bash and zsh if they are installed.
 */
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

const queries: object[] = [];
const LIVE = {
  vnis: async () => [{ word: '100', meaning: 'vtep100' }],
  peers: async (options: object) => {
    queries.push(options);
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

t.test('commands, options and values of vtepctl are completed', async (t) => {
  t.strictSame(await ofCtl('c'), ['counters', 'capture', 'completion']);
  t.notOk((await ofCtl('')).includes('complete'), 'the hidden command is not offered');
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

t.test('VNIs and peers of the daemon are completed', async (t) => {
  t.strictSame(await ofCtl('peer', 'list', '--vni', ''), ['100']);
  t.strictSame(await ofCtl('vni', 'del', '1'), ['100']);
  t.strictSame(await ofCtl('vni', 'del', '100', ''), [], 'the command has one argument');
  t.strictSame(await ofCtl('--api', 'unix:/x', 'peer', 'del', '--vni', '100', ''), ['192.0.2.11']);
  t.strictSame(queries.at(-1), { api: 'unix:/x', vni: '100' });
  t.strictSame(await ofCtl('fdb', 'add', '02:00:00:00:00:01', ''), ['192.0.2.11']);
});

t.test('flags of vtepd are completed', async (t) => {
  t.strictSame(await ofDaemon('--log-'), ['--log-level', '--log-format']);
  t.strictSame(await ofDaemon('--df', ''), ['set', 'unset', 'inherit']);
  t.strictSame(await ofDaemon('--config', ''), 'files');
});

t.test('the hidden command prints candidates for the shells', async (t) => {
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

t.test('the bash script completes words, values and file names', { skip: missingTool('bash') }, async (t) => {
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

/** zsh script that replaces _describe and _files with functions that print the candidates. */
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

t.test('the zsh script completes words, values and file names', { skip: missingTool('zsh') }, async (t) => {
  const { place } = await fakeApi(t, {
    'GET /v1/vnis': { body: { items: [{ vni: 100, tap: 'vtep100' }], nextCursor: null } },
  });
  const { stdout, stderr } = await withVtepctl('zsh', ['-f', '-c', ZSH], place);
  t.equal(stderr, '');
  t.strictSame(stdout.trim().split('\n'), [
    'list:list all VNIs',
    'show:show a VNI with all its settings',
    'add:add a VNI, its TAP and its peers',
    'set:change settings of a running VNI',
    'del:remove a VNI, its peers and its TAP',
    '100:vtep100',
    'files',
    '_vtepctl',
  ]);
});

/** Runs a shell with the built vtepctl in its PATH. */
function withVtepctl(shell: string, args: string[], place: string) {
  const bin = t.testdir({ vtepctl: t.fixture('symlink', `${DIST}vtepctl.js`) });
  const PATH = `${bin}:${process.env.PATH}`;
  return execute(shell, args, { env: { ...process.env, PATH, VTEPCTL_API: place, HOME: bin } });
}
