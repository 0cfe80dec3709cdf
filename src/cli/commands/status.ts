/** Commands `status` (version, underlay, VNIs, warnings and notices) and `ready`. */
import type { Problem, StatusView } from '../../api/views.js';
import type { ApiFailure } from '../client.js';
import type { Declare, Session } from '../session.js';
import { readyText, statusText } from '../vtepctl-text.js';

export const declareStatus: Declare = (program, run) => {
  program
    .command('status')
    .description('show version, underlay, VNIs, warnings and notices')
    .action(run(status));
  program
    .command('ready')
    .description('show whether vtepd is ready, or all reasons why not; exit status 1 if it is not ready')
    .action(run(ready));
};

async function status({ client, answer }: Session): Promise<void> {
  const found = await client.call<StatusView>('GET', '/v1/status');
  answer(found, () => statusText(found));
}

async function ready({ client, verdict, answer }: Session): Promise<void> {
  const problem = await client.call('GET', '/readyz').then(
    () => undefined,
    (error: ApiFailure) => {
      if (error.code !== 'not_ready') throw error;
      return error.answer as Problem;
    },
  );
  verdict.bad = problem !== undefined;
  answer(problem ?? { status: 'ready' }, () => readyText(problem));
}
