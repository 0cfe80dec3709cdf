/**
 * Route of events: server-sent events (WHATWG HTML §9.2).
 *
 * The SSE event name is the event's type, and the SSE data is one line of JSON. Past events are not
 * replayed. A client that reads too slowly loses the oldest events of its queue and gets a `lost`
 * event with their number. The number of clients is bounded.
 */
import { PassThrough, pipeline, Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { oneOf, parseVni } from '../../config/values.js';
import {
  EVENT_TYPES,
  type EventSubscription,
  type StampedEvent,
  type VtepEvent,
} from '../../exchange/events.js';
import { guardedAnswers, media } from '../answers.js';
import type { ControlDeps } from '../deps.js';
import { ApiError } from '../errors.js';
import { onceClosed } from '../once-closed.js';
import { parseWith } from '../params.js';
import { eventsQuery } from '../schemas.js';

const EVENTS_TYPE = 'text/event-stream';

const CLIENTS_MAX = 32;
/**
 * Milliseconds between SSE comments, which show client and proxies that the connection is alive.
 */
const HEARTBEAT_MS = 15_000;
const HEARTBEAT = ': nothing new\n\n';
/** First text of a stream: the delay before a browser reconnects, ms. */
const HELLO = 'retry: 2000\n\n';

interface EventsQuery {
  readonly type?: string;
  readonly vni?: string;
}

/** @param heartbeatMs interval of heartbeats; tests pass a shorter one */
export function eventRoutes(
  app: FastifyInstance,
  { events }: ControlDeps,
  heartbeatMs: number = HEARTBEAT_MS,
): void {
  let clients = 0;

  app.get<{ Querystring: EventsQuery }>(
    '/v1/events',
    {
      exposeHeadRoute: false,
      schema: {
        summary: 'Stream events as server-sent events, from now on',
        tags: ['Daemon'],
        operationId: 'streamEvents',
        querystring: eventsQuery,
        response: guardedAnswers(
          { 200: media(EVENTS_TYPE, { type: 'string' }, 'a stream of events until the client disconnects') },
          ['too_many_streams'],
        ),
      },
    },
    (request, reply) => {
      const wanted = filterOf(request.query);
      if (clients === CLIENTS_MAX) {
        throw new ApiError(
          'too_many_streams',
          `${CLIENTS_MAX} clients are subscribed already; disconnect one of them`,
        );
      }
      clients++;
      const subscription = events.subscribe();
      const out = new PassThrough();
      out.write(HELLO);
      pipeline(Readable.from(textOf(subscription, wanted)), out, () => {});
      const heartbeat = setInterval(() => out.writableNeedDrain || out.write(HEARTBEAT), heartbeatMs);
      onceClosed(request, reply, () => {
        clients--;
        clearInterval(heartbeat);
        subscription.close();
      });
      return reply.type(EVENTS_TYPE).send(out);
    },
  );
}

async function* textOf(
  subscription: EventSubscription,
  wanted: (event: VtepEvent) => boolean,
): AsyncGenerator<string> {
  for await (const stamped of subscription) if (wanted(stamped.event)) yield frame(stamped);
}

function frame({ id, at, event }: StampedEvent): string {
  return `id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify({ at, ...event })}\n\n`;
}

/**
 * Filter for a query. `lost` events pass every filter.
 *
 * @throws ApiError bad_request
 */
function filterOf(query: EventsQuery): (event: VtepEvent) => boolean {
  const types = query.type?.split(',').map((type) => parseWith('type', type, oneOf(...EVENT_TYPES)));
  const vni = query.vni === undefined ? undefined : parseWith('vni', query.vni, parseVni);
  return (event) =>
    event.type === 'lost' ||
    ((types === undefined || types.includes(event.type)) &&
      (vni === undefined || ('vni' in event && event.vni === vni)));
}
