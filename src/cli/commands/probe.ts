/** The search for what the path to a peer carries, with a line of progress while it runs. */

import type { ProbeStep, ProbeView } from '../../api/views.js';
import { parsePeerHost } from '../../config/peer.js';
import { type Declare, parsed, peerPath, type Session, VNI_OPTION, type VniOption } from '../session.js';
import { probeStepText, probeText } from '../vtepctl-text.js';

export const declareProbe: Declare = (program, run) => {
  program
    .command('probe <ADDR>')
    .description('search what the path to a peer carries; exit 1 if the overlay does not fit it')
    .option(...VNI_OPTION)
    .action(run(probe));
};

async function probe(session: Session<VniOption>, [text]: readonly string[]): Promise<void> {
  const { client, around, verdict, answer } = session;
  const host = parsed('peer', text, parsePeerHost);
  const found = await client
    .follow<ProbeView>(`${await peerPath(session, text)}/probe`, (step) =>
      around.progress(probeStepText(host, step as ProbeStep)),
    )
    .finally(() => around.progress(''));
  verdict.bad = !found.good;
  answer(found, () => probeText(found));
}
