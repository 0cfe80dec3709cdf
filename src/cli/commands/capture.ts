/**
 * Frames of the overlay, or datagrams of the underlay, as a pcap stream: to a file, or to stdout for whoever reads it
 * (`vtepctl capture --vni 100 | tcpdump -r -`). However it ends, the stream ends with a whole packet.
 */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { oneOf, parseVni, wholeNumber } from '../../config/values.js';
import { PcapCutter } from '../pcap-cutter.js';
import { type Declare, option, Refusal, type Session, UsageError } from '../session.js';
import { formatCount } from '../table.js';

interface CaptureOptions {
  readonly vni?: number;
  readonly point?: string;
  readonly snaplen?: number;
  readonly count?: number;
  readonly write?: string;
}

/** Bytes of a packet that are kept, as tcpdump has it. */
const SNAPLEN_MAX = 262_144;

export const declareCapture: Declare = (program, run) => {
  program
    .command('capture')
    .description('packets as pcap: "vtepctl capture --vni 100 | tcpdump -r -"')
    .option(...option('--vni <ID>', 'only of this VNI', parseVni))
    .option(
      ...option(
        '--point <overlay|underlay>',
        'frames at the TAP, or VXLAN datagrams (default: overlay)',
        oneOf('overlay', 'underlay'),
      ),
    )
    .option(
      ...option(
        '--snaplen <N>',
        `bytes kept of a packet (default: ${SNAPLEN_MAX})`,
        wholeNumber(1, SNAPLEN_MAX),
      ),
    )
    .option(...option('-c, --count <N>', 'end after so many packets', wholeNumber(1, 1_000_000_000)))
    .option('-w, --write <FILE>', 'write to this file; "-": to stdout')
    .action(run(capture));
};

async function capture({ client, around, options, answer }: Session<CaptureOptions>): Promise<void> {
  const { write: path = '-', json } = options;
  if (path === '-' && around.output.isTerminal)
    throw new UsageError(
      'capture: stdout is a terminal, and packets are bytes; use -w FILE or "| tcpdump -r -"',
    );
  if (path === '-' && json)
    throw new UsageError('capture: --json has no place beside the packets on stdout; use it with -w FILE');
  const signal = around.interrupted();
  const cutter = new PcapCutter();
  await client.stream(pathOf(options), 'application/vnd.tcpdump.pcap', signal, async (bytes) => {
    const target = path === '-' ? around.output.stream : await openFile(path);
    try {
      await copy(bytes, cutter, target, signal);
    } finally {
      if (path !== '-') await closeFile(target);
    }
  });
  if (json) answer({ file: path, packets: cutter.packets }, () => '');
  else around.stderr(`${formatCount(cutter.packets, 'packet')} captured\n`);
}

function pathOf({ vni, point = 'overlay', snaplen = SNAPLEN_MAX, count }: CaptureOptions): string {
  const query = new URLSearchParams({
    ...(vni !== undefined && { vni: String(vni) }),
    point,
    snaplen: String(snaplen),
    ...(count !== undefined && { limit: String(count) }),
  });
  return `/v1/capture?${query}`;
}

/** Packets go on as they come; a slow reader slows us, and vtepd then drops and counts. */
async function copy(
  bytes: Readable,
  cutter: PcapCutter,
  target: Writable,
  signal: AbortSignal,
): Promise<void> {
  for await (const chunk of bytes) {
    const whole = cutter.cut(chunk as Buffer);
    if (whole.length > 0 && !target.write(whole)) await once(target, 'drain', { signal });
  }
}

async function openFile(path: string): Promise<Writable> {
  const file = createWriteStream(path);
  await once(file, 'open').catch(refuse(path));
  return file;
}

async function closeFile(file: Writable): Promise<void> {
  file.end();
  if (!file.closed) await once(file, 'close');
}

function refuse(path: string): (error: NodeJS.ErrnoException) => never {
  return ({ code, message }) => {
    throw new Refusal(`-w ${path}: cannot be written (${code ?? message})`);
  };
}
