/**
 * Command `capture`: overlay frames or underlay datagrams as a pcap stream.
 *
 * The output is a file or stdout (`vtepctl capture --vni 100 | tcpdump -r -`). The output
 * always ends after a complete packet.
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

/** Default and maximum snapshot length in bytes, as for tcpdump(8). */
const SNAPLEN_MAX = 262_144;

export const declareCapture: Declare = (program, run) => {
  program
    .command('capture')
    .description('write packets as pcap: "vtepctl capture --vni 100 | tcpdump -r -"')
    .option(...option('--vni <ID>', 'only packets of this VNI (default: all VNIs)', parseVni))
    .option(
      ...option(
        '--point <overlay|underlay>',
        'overlay: frames at the TAP; underlay: VXLAN datagrams (default: overlay)',
        oneOf('overlay', 'underlay'),
      ),
    )
    .option(
      ...option(
        '--snaplen <N>',
        `maximum bytes captured of each packet (default: ${SNAPLEN_MAX})`,
        wholeNumber(1, SNAPLEN_MAX),
      ),
    )
    .option(...option('-c, --count <N>', 'stop after N packets', wholeNumber(1, 1_000_000_000)))
    .option('-w, --write <FILE>', 'write to this file; "-": stdout (default: -)')
    .action(run(capture));
};

async function capture({ client, environment, options, answer }: Session<CaptureOptions>): Promise<void> {
  const { write: path = '-', json } = options;
  if (path === '-' && environment.output.isTerminal)
    throw new UsageError(
      'capture: stdout is a terminal, and pcap is a binary format; use -w FILE or "| tcpdump -r -"',
    );
  if (path === '-' && json)
    throw new UsageError('capture: --json needs -w FILE, because the packets go to stdout');
  const signal = environment.interrupted();
  const cutter = new PcapCutter();
  await client.stream(pathOf(options), 'application/vnd.tcpdump.pcap', signal, async (bytes) => {
    const target = path === '-' ? environment.output.stream : await openFile(path);
    try {
      await copy(bytes, cutter, target, signal);
    } finally {
      if (path !== '-') await closeFile(target);
    }
  });
  if (json) answer({ file: path, packets: cutter.packets }, () => '');
  else environment.stderr(`${formatCount(cutter.packets, 'packet')} captured\n`);
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

/**
 * Copies complete packets. A slow reader blocks the copy; vtepd then omits packets from the capture
 * and counts the omitted packets. The traffic is not affected.
 */
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
