/** What keeps frames from arriving: by the daemon's word, or by the machine's alone where none runs. */
import type { Finding } from '../../api/views.js';
import type { ApiFailure } from '../client.js';
import type { Declare, Session } from '../session.js';
import { doctorText } from '../vtepctl-text.js';

export const declareDoctor: Declare = (program, run) => {
  program
    .command('doctor')
    .description('look for what keeps frames from arriving; exit 1 if there is something')
    .action(run(doctor));
};

async function doctor({ client, around, verdict, answer }: Session): Promise<void> {
  const findings = await client.call<{ items: Finding[] }>('GET', '/v1/doctor').then(
    ({ items }) => items,
    async (error: ApiFailure) => {
      // A daemon that does not run is a finding of its own; the machine may say why.
      if (error.code !== '') throw error;
      return [notRunning(error), ...(await around.doctor())];
    },
  );
  verdict.bad = findings.length > 0;
  answer({ items: findings }, () => doctorText(findings));
}

function notRunning({ message }: ApiFailure): Finding {
  const why = 'no frame is carried, and only what this machine shows was looked at';
  return { code: 'not_running', what: message, why, cure: 'start vtepd' };
}
