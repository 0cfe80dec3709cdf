/**
 * Loaded into a daemon or a harness with `--import`: workers tell of the reports in which they transfer something, a line each
 * in the file that TRANSFERS_FILE names.
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
