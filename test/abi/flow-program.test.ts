/**
 * The committed programs for TCP flows agree with their source and with TypeScript's layout.
 *
 * The programs are compiled by scripts/flow-program.mjs, not by the build.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { FLOW_FDS, FLOW_KEY_LEN, FLOW_VALUE_LEN } from '../../src/abi/flow-layout.js';

const SHIMS = new URL('../../native-shims/', import.meta.url);
const read = (name: string) => readFileSync(new URL(name, SHIMS), 'utf8');

t.test('flow_program.h was compiled from the current flow.bpf.c', async (t) => {
  const digest = createHash('sha256').update(read('flow.bpf.c')).digest('hex');
  t.match(read('flow_program.h'), digest, 'the source is unchanged since scripts/flow-program.mjs ran');
});

t.test('sizes and indices match shim.h', async (t) => {
  const header = read('shim.h');
  const define = (name: string) => Number(new RegExp(`#define ${name} (\\d+)`).exec(header)?.[1]);
  t.equal(define('FLOW_FDS'), FLOW_FDS);
  t.equal(define('FLOW_KEY_SIZE'), FLOW_KEY_LEN);
  t.equal(define('FLOW_VALUE_SIZE'), FLOW_VALUE_LEN);
});
