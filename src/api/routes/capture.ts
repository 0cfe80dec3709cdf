/** Route of captures: streams packets as a pcap file until the client disconnects. */
import type { FastifyInstance } from 'fastify';
import { oneOf, wholeNumber } from '../../config/values.js';
import { DATA_PLANE_CODES, guardedAnswers, media } from '../answers.js';
import type { ControlDeps } from '../deps.js';
import { onceClosed } from '../once-closed.js';
import { parseWith, vniOf } from '../params.js';
import { captureQuery } from '../schemas.js';

const PCAP_TYPE = 'application/vnd.tcpdump.pcap';

/** Maximum snapshot length, bytes; the same as that of tcpdump. */
const SNAP_LEN_MAX = 262_144;

interface CaptureQuery {
  readonly vni?: string;
  readonly point?: string;
  readonly snaplen?: string;
  readonly limit?: string;
}

export function captureRoutes(app: FastifyInstance, deps: ControlDeps): void {
  app.get<{ Querystring: CaptureQuery }>(
    '/v1/capture',
    {
      exposeHeadRoute: false,
      schema: {
        summary: 'Capture packets as a pcap stream, from now on',
        tags: ['Daemon'],
        operationId: 'capture',
        querystring: captureQuery,
        response: guardedAnswers(
          {
            200: media(
              PCAP_TYPE,
              { type: 'string', format: 'binary' },
              'a pcap file that grows until the capture ends',
            ),
          },
          ['vni_not_found', 'capture_busy', ...DATA_PLANE_CODES],
        ),
      },
    },
    async (request, reply) => {
      const capture = await deps.capture.open(optionsOf(deps, request.query));
      onceClosed(request, reply, () => {
        capture
          .close()
          .catch((error) => deps.log.error({ err: error, request: request.id }, 'cannot close a capture'));
      });
      // The connection has no idle time-out, because hours may pass without a packet.
      request.raw.socket.setTimeout(0);
      return reply.type(PCAP_TYPE).send(capture.stream);
    },
  );
}

/** @throws ApiError bad_request, vni_not_found */
function optionsOf({ dataPlane }: ControlDeps, query: CaptureQuery) {
  const { vni, point = 'overlay', snaplen = String(SNAP_LEN_MAX), limit } = query;
  return {
    vni: vni === undefined ? undefined : vniOf(dataPlane, { vni }),
    point: parseWith('point', point, oneOf('overlay', 'underlay')),
    snapLen: parseWith('snaplen', snaplen, wholeNumber(1, SNAP_LEN_MAX)),
    ...(limit !== undefined && { limit: parseWith('limit', limit, wholeNumber(1, Number.MAX_SAFE_INTEGER)) }),
  };
}
