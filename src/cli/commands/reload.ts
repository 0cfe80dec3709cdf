/** Command `reload`: makes vtepd read its configuration file again, as SIGHUP does. */
import type { ReloadReport } from '../../api/views.js';
import type { Declare, Session } from '../session.js';
import { reloadText } from '../vtepctl-text.js';

/** Timeout in ms: vtepd needs up to 2 s for each change, and a reload may have many. */
const RELOAD_MS = 120_000;

export const declareReload: Declare = (program, run) => {
  program
    .command('reload')
    .description('make vtepd read its configuration file again and apply the changes')
    .action(run(reload));
};

async function reload({ client, answer }: Session): Promise<void> {
  const report = await client.call<ReloadReport>('POST', '/v1/reload', { answerMs: RELOAD_MS });
  answer(report, () => reloadText(report));
}
