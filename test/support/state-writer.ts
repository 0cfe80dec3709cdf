/**
 * Writes one state after another to a state file until it is killed.
 *
 * The argument is the path of the file. Each state contains one MAC, and the last nine digits of
 * this MAC are the number of the state. The process first prints the number of the state that the
 * file contains (0 without a state). It then writes the states with the next numbers, and prints
 * each number after the state is committed.
 */
import { loadShim } from '../../src/abi/binding.js';
import { withEntry } from '../../src/config/edits.js';
import { entriesOf, NO_STATE } from '../../src/config/state.js';
import { StateFile } from '../../src/config/state-file.js';

const shim = loadShim();
const file = await StateFile.open(process.argv[2], (fd) => shim.fileLock(fd));
const [mac = '02:00:00:00:00:00'] = entriesOf(file.state, 1).keys();
for (let number = Number(mac.replaceAll(':', '')) % 1e9; ; number++) {
  if (number > 0) {
    const digits = `020${String(number).padStart(9, '0')}`;
    const next = digits.match(/../g)!.join(':');
    await (await file.prepare(withEntry(NO_STATE, 1, next, '192.0.2.1'))).commit();
  }
  process.stdout.write(`${number}\n`);
}
