/**
 * Records the messages of workers that transfer memory.
 *
 * This module is loaded into a daemon or a test harness with `--import`. For each message that
 * transfers memory it appends a line with the kind of the message to the file in TRANSFERS_FILE.
 */
import { appendFileSync } from 'node:fs';
import { isMainThread, MessagePort } from 'node:worker_threads';

const { postMessage } = MessagePort.prototype;

if (!isMainThread) {
  MessagePort.prototype.postMessage = function (message, transfer) {
    const count = Array.isArray(transfer) ? transfer.length : (transfer?.transfer?.length ?? 0);
    if (count > 0 && message?.kind !== undefined)
      appendFileSync(process.env.TRANSFERS_FILE, `${message.kind}\n`);
    return postMessage.call(this, message, transfer);
  };
}
