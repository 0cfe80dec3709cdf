/** Command `doctor`: findings of the daemon, or of this machine alone if no daemon runs. */
import type { Finding } from '../../api/views.js';
import type { ApiFailure } from '../client.js';
import type { Declare, Session } from '../session.js';
import { doctorText } from '../vtepctl-text.js';

export const declareDoctor: Declare = (program, run) => {
  program
    .command('doctor')
    .description(
      'find problems that keep frames from arriving; exit status 1 if there are any; notices are no problems',
    )
    .action(run(doctor));
};

async function doctor({ client, environment, verdict, answer }: Session): Promise<void> {
  const findings = await client.call<{ items: Finding[] }>('GET', '/v1/doctor').then(
    ({ items }) => items,
    async (error: ApiFailure) => {
      // An unreachable daemon is a finding; the checks of the machine possibly find the cause.
      if (error.code !== '') throw error;
      return [notRunning(error), ...(await environment.doctor())];
    },
  );
  verdict.bad = findings.some(({ notice }) => !notice);
  answer({ items: findings }, () => doctorText(findings));
}

function notRunning({ message }: ApiFailure): Finding {
  const why = 'no frames are forwarded; only this machine was checked';
  return { code: 'not_running', what: message, why, cure: 'start vtepd' };
}
