/** Command `probe`: measures the path MTU to a peer, with a progress line. */

import type { ProbeStep, ProbeView } from '../../api/views.js';
import { parsePeerHost } from '../../config/peer.js';
import { type Declare, parsed, peerPath, type Session, VNI_OPTION, type VniOption } from '../session.js';
import { probeStepText, probeText } from '../vtepctl-text.js';

export const declareProbe: Declare = (program, run) => {
  program
    .command('probe <ADDR>')
    .description(
      'measure the path MTU to a peer; exit status 1 if it is unknown or too small for the overlay MTU',
    )
    .option(...VNI_OPTION)
    .action(run(probe));
};

async function probe(session: Session<VniOption>, [text]: readonly string[]): Promise<void> {
  const { client, environment, verdict, answer } = session;
  const host = parsed('peer', text, parsePeerHost);
  const found = await client
    .follow<ProbeView>(`${await peerPath(session, text)}/probe`, (step) =>
      environment.progress(probeStepText(host, step as ProbeStep)),
    )
    .finally(() => environment.progress(''));
  verdict.bad = !found.good;
  answer(found, () => probeText(found));
}
