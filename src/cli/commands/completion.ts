/**
 * Command `completion`: scripts for bash and zsh.
 *
 * The scripts call the hidden command `complete`, which prints `files`, or `words` and then one
 * line per candidate, `word<TAB>meaning`.
 */
import { Argument } from 'commander';
import { Source } from '../../config/source.js';
import { type Candidate, complete, type LiveValues, type WordOptions } from '../completion.js';
import type { Environment } from '../environment.js';
import { type Declare, openSession, type Session, vniPath } from '../session.js';

export const declareCompletion: Declare = (program, run) => {
  program
    .command('completion')
    .addArgument(new Argument('<bash|zsh>').choices(['bash', 'zsh']))
    .description(
      'print the completion script of this shell for vtepctl and vtepd: source <(vtepctl completion bash)',
    )
    .action(run(async ({ environment }, [shell]) => environment.stdout(shell === 'bash' ? BASH : ZSH)));
  program
    .command('complete', { hidden: true })
    .argument('<vtepctl|vtepd>')
    .argument('[words...]')
    .action(
      run(async (session, [name, ...words]) => {
        const tree = name === 'vtepd' ? (await import('../flags.js')).makeCommand(new Source()) : program;
        const found = await complete(tree, words, liveValues(session.environment));
        const lines = found === 'files' ? ['files'] : ['words', ...found.map(line)];
        session.environment.stdout(lines.map((text) => `${text}\n`).join(''));
      }),
    );
};

/**
 * Returns live values from vtepd. On an error there are no candidates and no message, because the
 * user is typing a command.
 */
function liveValues(environment: Environment): LiveValues {
  const ask =
    (query: (session: Session<{ vni?: number }>) => Promise<Candidate[]>) => async (options: WordOptions) => {
      try {
        const session = openSession(optionsOf(options), environment, { bad: false });
        return await query(session).finally(() => session.client.close());
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

/**
 * Script for bash. In bash a colon ends a word, so the part up to the last colon is removed from
 * the candidates.
 */
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
