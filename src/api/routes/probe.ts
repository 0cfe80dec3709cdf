/**
 * Route of path MTU probes.
 *
 * A probe takes seconds. With `Accept: application/x-ndjson` the response has a line for each
 * packet, written when the outcome of the packet is known, and the result as the last line.
 * Otherwise the response is the result alone.
 */
import { PassThrough } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { guardedAnswers } from '../answers.js';
import type { ControlDeps, PeerProbe } from '../deps.js';
import { type Problem, problemOf } from '../errors.js';
import { peerOf, vniOf } from '../params.js';
import { noQuery, peerParams, probeSchema } from '../schemas.js';

const LINES_TYPE = 'application/x-ndjson';

const PROBE_ANSWER = {
  description: 'result of the probe; as x-ndjson one line per packet, then the result',
  content: { 'application/json': { schema: probeSchema }, [LINES_TYPE]: { schema: { type: 'string' } } },
};

export function probeRoutes(app: FastifyInstance, { dataPlane, probe, log }: ControlDeps): void {
  app.post<{ Params: { vni: string; address: string } }>(
    '/v1/vnis/:vni/peers/:address/probe',
    {
      schema: {
        summary: 'Measure the path MTU to a peer; takes some seconds',
        tags: ['Peers'],
        operationId: 'probePeer',
        params: peerParams,
        querystring: noQuery,
        response: guardedAnswers({ 200: PROBE_ANSWER }, ['vni_not_found', 'peer_not_found']),
      },
    },
    async (request, reply) => {
      const vni = vniOf(dataPlane, request.params);
      const peer = peerOf(dataPlane, vni, request.params.address);
      const { text } = peer.address;
      const view = (found: PeerProbe) => probeView(text, found);
      if (!request.headers.accept?.includes(LINES_TYPE)) return view(await probe(vni, peer, () => {}));

      const lines = new PassThrough();
      const write = (line: ProbeView | ProbeStep | Problem) => lines.write(`${JSON.stringify(line)}\n`);
      probe(vni, peer, (packetLen, outcome) => write({ packetLen, outcome }))
        .then((found) => write(view(found)))
        .catch((error) => {
          log.error({ error: (error as Error).message, peer: text }, 'path MTU probe failed');
          write(problemOf(error));
        })
        .finally(() => lines.end());
      return reply.type(LINES_TYPE).send(lines);
    },
  );
}

export type ProbeView = ReturnType<typeof probeView>;

/** Line of the response about one packet. */
export interface ProbeStep {
  /** Bytes of the outer IP packet. */
  readonly packetLen: number;
  readonly outcome: string;
}

/** Converts undefined to null, because JSON has no undefined. */
function probeView(peer: string, found: PeerProbe) {
  const { means = null, pathMtu = null, routeMtu = null, fits = null } = found;
  return { peer, ...found, means, pathMtu, routeMtu, fits };
}
