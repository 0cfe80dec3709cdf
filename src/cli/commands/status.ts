/** Command `status`: version, underlay, VNIs and warnings. */
import type { StatusView } from '../../api/views.js';
import type { Declare, Session } from '../session.js';
import { statusText } from '../vtepctl-text.js';

export const declareStatus: Declare = (program, run) => {
  program.command('status').description('show version, underlay, VNIs and warnings').action(run(status));
};

async function status({ client, answer }: Session): Promise<void> {
  const found = await client.call<StatusView>('GET', '/v1/status');
  answer(found, () => statusText(found));
}
