/**
 * Compiles native-shims/flow.bpf.c to native-shims/flow_program.h, a header of instruction words.
 *
 * Run it by hand after a change of flow.bpf.c; it needs clang. The build of vtepd needs only the
 * header. test/abi/flow-program.test.ts fails when the header was made from another source.
 *
 * Object file (elf(5), ELF64): a section `tcx/NAME` is a program; a relocation in it names a map.
 * The instruction that loads the map (two words) gets the number of the map and BPF_PSEUDO_MAP_FD;
 * the loader replaces the number by the file descriptor.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './set-up.mjs';

const SOURCE = join(root, 'native-shims/flow.bpf.c');
const HEADER = join(root, 'native-shims/flow_program.h');
/** Maps in the order of their numbers in shim.h (FLOW_CONFIG …). */
const MAPS = ['flow_config', 'flow_taps', 'flow_vnis', 'flow_rows', 'flow_counts'];
const PROGRAM = 'tcx/';
const RELOCATIONS = '.rel';
const SYMBOL_TABLE = 2;
const INSTRUCTION = 8;
const PSEUDO_MAP_FD = 1;
const A_LINE = 5;

const folder = mkdtempSync(join(tmpdir(), 'vtepd-flow-'));
try {
  const object = join(folder, 'flow.o');
  const headers = execFileSync('cc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  const flags = ['-O2', '-target', 'bpf', '-Wall', '-Wextra', '-Werror', '-I', `/usr/include/${headers}`];
  execFileSync('clang', [...flags, '-c', SOURCE, '-o', object], { stdio: 'inherit' });
  writeFileSync(HEADER, headerOf(programsOf(readFileSync(object))));
} finally {
  rmSync(folder, { recursive: true });
}

function programsOf(elf) {
  const sections = sectionsOf(elf);
  const symbols = sections.find(({ type }) => type === SYMBOL_TABLE).bytes;
  const names = sections.find(({ name }) => name === '.strtab').bytes;
  return sections
    .filter(({ name }) => name.startsWith(PROGRAM))
    .map(({ name, bytes }) => {
      const relocations = sections.find((section) => section.name === `${RELOCATIONS}${name}`)?.bytes;
      for (let at = 0; at < (relocations?.length ?? 0); at += 16) {
        const instruction = Number(relocations.readBigUInt64LE(at));
        const symbol = symbols.readUInt32LE(relocations.readUInt32LE(at + 12) * 24);
        bytes[instruction + 1] = (bytes[instruction + 1] & 0x0f) | (PSEUDO_MAP_FD << 4);
        bytes.writeInt32LE(MAPS.indexOf(textAt(names, symbol)), instruction + 4);
      }
      return { name: name.slice(PROGRAM.length), bytes };
    });
}

function sectionsOf(elf) {
  const [at, size, count, namesIndex] = [
    Number(elf.readBigUInt64LE(40)),
    elf.readUInt16LE(58),
    elf.readUInt16LE(60),
    elf.readUInt16LE(62),
  ];
  const raw = Array.from({ length: count }, (_, i) => {
    const head = elf.subarray(at + i * size);
    const start = Number(head.readBigUInt64LE(24));
    const bytes = elf.subarray(start, start + Number(head.readBigUInt64LE(32)));
    return { nameAt: head.readUInt32LE(0), type: head.readUInt32LE(4), bytes };
  });
  const names = raw[namesIndex].bytes;
  return raw.map(({ nameAt, type, bytes }) => ({
    name: textAt(names, nameAt),
    type,
    bytes,
  }));
}

function textAt(strings, at) {
  return strings.toString('latin1', at, strings.indexOf(0, at));
}

function headerOf(programs) {
  const digest = createHash('sha256').update(readFileSync(SOURCE)).digest('hex');
  const arrays = programs.map(
    ({ name, bytes }) => `static const uint64_t ${name}[] = {\n${words(bytes)}};\n`,
  );
  return `/* SPDX-License-Identifier: MIT
 *
 * Made by scripts/flow-program.mjs from flow.bpf.c, sha256
 * ${digest}
 */
#include <stdint.h>

${arrays.join('\n')}`;
}

function words(bytes) {
  const all = Array.from(
    { length: bytes.length / INSTRUCTION },
    (_, i) =>
      `0x${bytes
        .readBigUInt64LE(i * INSTRUCTION)
        .toString(16)
        .padStart(16, '0')},`,
  );
  const lines = [];
  for (let i = 0; i < all.length; i += A_LINE) lines.push(`\t${all.slice(i, i + A_LINE).join(' ')}\n`);
  return lines.join('');
}
