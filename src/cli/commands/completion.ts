/**
 * Completion for bash and zsh. The scripts are a few lines that ask this program, by the hidden command `complete`, what can
 * stand next: `files`, or `words` and then a line for each, `word<TAB>meaning`.
 */
import { Argument } from 'commander';
import { Source } from '../../config/source.js';
import { type Candidate, complete, type LiveValues, type WordOptions } from '../completion.js';
import { type Declare, openSession, type Session, vniPath } from '../session.js';
import type { Surroundings } from '../surroundings.js';

export const declareCompletion: Declare = (program, run) => {
  program
    .command('completion')
    .addArgument(new Argument('<bash|zsh>').choices(['bash', 'zsh']))
    .description('print what makes this shell complete vtepctl and vtepd: source <(vtepctl completion bash)')
    .action(run(async ({ around }, [shell]) => around.stdout(shell === 'bash' ? BASH : ZSH)));
  program
    .command('complete', { hidden: true })
    .argument('<vtepctl|vtepd>')
    .argument('[words...]')
    .action(
      run(async (session, [name, ...words]) => {
        const tree = name === 'vtepd' ? (await import('../flags.js')).makeCommand(new Source()) : program;
        const found = await complete(tree, words, liveValues(session.around));
        const lines = found === 'files' ? ['files'] : ['words', ...found.map(line)];
        session.around.stdout(lines.map((text) => `${text}\n`).join(''));
      }),
    );
};

/** Who types waits: what cannot be had is left out. */
function liveValues(around: Surroundings): LiveValues {
  const ask =
    (question: (session: Session<{ vni?: number }>) => Promise<Candidate[]>) =>
    async (options: WordOptions) => {
      try {
        const session = openSession(optionsOf(options), around, { bad: false });
        return await question(session).finally(() => session.client.close());
      } catch {
        return [];
      }
    };
  return {
    vnis: ask(async ({ client }) => {
      const vnis = await client.list<{ vni: number; tap: string }>('/v1/vnis');
      return vnis.map(({ vni, tap }) => ({ word: String(vni), meaning: tap }));
    }),
    peers: ask(async (session) => {
      const peers = await session.client.list<{ address: string }>(`${await vniPath(session)}/peers`);
      return peers.map(({ address }) => ({ word: address, meaning: '' }));
    }),
  };
}

function optionsOf(words: WordOptions): { api?: string; tokenFile?: string; vni?: number } {
  const { api, 'token-file': tokenFile, vni } = words;
  return {
    ...(api !== undefined && { api }),
    ...(tokenFile !== undefined && { tokenFile }),
    ...(vni !== undefined && { vni: Number(vni) }),
  };
}

function line({ word, meaning }: Candidate): string {
  return meaning === '' ? word : `${word}\t${meaning}`;
}

/** Bash takes a colon for the end of a word: what stands before the last one is taken off again. */
const BASH = `# bash completion of vtepctl and vtepd: source <(vtepctl completion bash)
_vtepctl() {
  local line=\${COMP_LINE:0:COMP_POINT} words answer
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  local typed=\${words[-1]} program=vtepctl
  [[ \${1##*/} == vtepctl ]] && program=$1
  mapfile -t answer < <("$program" complete "\${1##*/}" -- "\${words[@]:1}" 2>/dev/null)
  COMPREPLY=()
  if [[ \${answer[0]} == files ]]; then
    compopt -o default
  elif [[ \${answer[0]} == words ]]; then
    COMPREPLY=("\${answer[@]:1}")
    COMPREPLY=("\${COMPREPLY[@]%%$'\\t'*}")
    [[ $typed == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("\${COMPREPLY[@]#"\${typed%"\${typed##*:}"}"}")
  fi
}
complete -F _vtepctl vtepctl vtepd
`;

const ZSH = `#compdef vtepctl vtepd
# zsh completion of vtepctl and vtepd: source <(vtepctl completion zsh), after compinit
_vtepctl() {
  local program=vtepctl
  [[ \${words[1]:t} == vtepctl ]] && program=\${words[1]}
  local -a answer candidates
  answer=("\${(@f)$("$program" complete "\${words[1]:t}" -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ \${answer[1]} == files ]]; then
    _files
  elif [[ \${answer[1]} == words ]]; then
    shift answer
    answer=("\${(@)answer//:/\\\\:}")
    candidates=("\${(@)answer/$'\\t'/:}")
    _describe -t words word candidates
  fi
}
if [[ \${zsh_eval_context[-1]} == loadautofunc ]]; then
  _vtepctl "$@"
else
  compdef _vtepctl vtepctl vtepd
fi
`;
