/** Has vtepd read its flags and file anew, as SIGHUP does. */
import type { ReloadReport } from '../../api/views.js';
import type { Declare, Session } from '../session.js';
import { reloadText } from '../vtepctl-text.js';

/** Milliseconds: each change may take vtepd two seconds, and there may be many. */
const RELOAD_MS = 120_000;

export const declareReload: Declare = (program, run) => {
  program
    .command('reload')
    .description('have vtepd read its configuration file anew and apply what changed')
    .action(run(reload));
};

async function reload({ client, answer }: Session): Promise<void> {
  const report = await client.call<ReloadReport>('POST', '/v1/reload', { answerMs: RELOAD_MS });
  answer(report, () => reloadText(report));
}
