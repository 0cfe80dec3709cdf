/**
 * Reads the file of `--api-token-file`: one line with the token that requests must carry.
 *
 * The file is read once, at start. The token appears in no log line, message or response.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { ConfigError } from '../config/config-error.js';
import type { Report } from '../exchange/report.js';

/** Maximum bytes of the file: tokens are far shorter, and a device file is possibly endless. */
const FILE_MAX = 4096;
/**
 * Minimum safe length, characters: that of `openssl rand -hex 8`, which cannot be guessed over a
 * network.
 */
const SAFE_LEN = 16;
/** RFC 6750 §2.1: b64token. */
const TOKEN = /^[\w.~+/-]+=*$/;
const OTHERS_MAY_READ = 0o004;

export interface TokenFile {
  readonly token: string;
  /** One warning per problem. */
  readonly warnings: readonly Report[];
}

/** @throws ConfigError when the file is missing, empty or not a valid token */
export function readTokenFile(path: string): TokenFile {
  const place = `--api-token-file ${path}`;
  const { text, mode } = readFile(path, place);
  const token = text.trim();
  if (token === '')
    throw new ConfigError(`${place}: is empty; write a token into it: openssl rand -hex 32 > ${path}`);
  if (!TOKEN.test(token)) {
    throw new ConfigError(
      `${place}: must contain one line of letters, digits, "-", ".", "_", "~", "+" and "/", such as the output of openssl rand -hex 32`,
    );
  }
  const warnings: Report[] = [];
  const unsafe = (problem: string, who: string, cure: string) =>
    warnings.push({
      code: 'token_unsafe',
      detail: `${place}: ${problem}`,
      why: `${who} can change VNIs and peers`,
      cure: `${cure}; then restart vtepd`,
    });
  if (mode & OTHERS_MAY_READ)
    unsafe(
      'every user of this machine can read the token',
      'each of these users',
      `create a new token, and run: chmod 640 ${path}`,
    );
  if (token.length < SAFE_LEN)
    unsafe(
      `a token of ${token.length} characters can be guessed`,
      'every host that reaches the API and guesses it',
      `create a longer one: openssl rand -hex 32 > ${path}`,
    );
  return { token, warnings };
}

function readFile(path: string, place: string): { text: string; mode: number } {
  let fd = -1;
  try {
    fd = openSync(path, 'r');
    const bytes = Buffer.alloc(FILE_MAX + 1);
    const length = readSync(fd, bytes);
    if (length > FILE_MAX)
      throw new ConfigError(`${place}: has more than ${FILE_MAX} bytes; is it another file?`);
    return { text: bytes.toString('utf8', 0, length), mode: fstatSync(fd).mode };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const [cause] = (error as Error).message.split(',');
    throw new ConfigError(
      `${place}: cannot be read (${cause}); the file must exist, be readable and contain the token`,
    );
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}
