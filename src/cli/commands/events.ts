/**
 * Command `events`: one line per event, as text or JSON, until Ctrl-C or a given number of events.
 */
import type { Readable } from 'node:stream';
import { createParser } from 'eventsource-parser';
import { oneOf, parseVni, wholeNumber } from '../../config/values.js';
import { EVENT_TYPES } from '../../exchange/events.js';
import { type Declare, option, Refusal, type Session } from '../session.js';
import { eventText, type ShownEvent } from '../vtepctl-text.js';

/** Event of the stream with its time. */
interface Stamped extends ShownEvent {
  /** Time in RFC 3339 format. */
  readonly at: string;
}

interface EventsOptions {
  readonly vni?: number;
  readonly type?: readonly string[];
  readonly count?: number;
}

export const declareEvents: Declare = (program, run) => {
  program
    .command('events')
    .description('print events as they occur: learned MACs, peers, path MTUs, warnings')
    .option(...option('--vni <ID>', 'only events of this VNI (default: all events)', parseVni))
    .option(
      ...option(
        `--type <${EVENT_TYPES.join('|')}>`,
        'only events of this type, or of several: "learned,moved"',
        types,
      ),
    )
    .option(...option('-c, --count <N>', 'stop after N events', wholeNumber(1, 1_000_000_000)))
    .action(run(events));
};

function types(text: string): string[] {
  return text.split(',').map(oneOf(...EVENT_TYPES));
}

async function events({ client, environment, options }: Session<EventsOptions>): Promise<void> {
  const signal = environment.interrupted();
  let left = options.count ?? Number.POSITIVE_INFINITY;
  await client.stream(pathOf(options), 'text/event-stream', signal, async (bytes) => {
    for await (const { at, ...event } of stampedEvents(bytes)) {
      environment.stdout(options.json ? `${JSON.stringify({ at, ...event })}\n` : eventText(at, event));
      left -= 1;
      if (left === 0) return;
    }
    throw new Refusal('vtepd closed the event stream');
  });
}

function pathOf({ type, vni }: EventsOptions): string {
  const query = new URLSearchParams({
    ...(type && { type: type.join(',') }),
    ...(vni !== undefined && { vni: String(vni) }),
  });
  return query.size > 0 ? `/v1/events?${query}` : '/v1/events';
}

async function* stampedEvents(bytes: Readable): AsyncGenerator<Stamped> {
  const ready: Stamped[] = [];
  const parser = createParser({ onEvent: ({ data }) => ready.push(JSON.parse(data) as Stamped) });
  bytes.setEncoding('utf8');
  for await (const text of bytes) {
    parser.feed(text as string);
    yield* ready.splice(0);
  }
}
