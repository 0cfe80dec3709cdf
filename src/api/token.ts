/**
 * The file of `--api-token-file`: one line, the token that requests must show. Read once, at start. Its text appears
 * nowhere else: no log, no message, no answer.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { ConfigError } from '../config/config-error.js';

/** Bytes of the file: a token is far shorter, and a device has no end. */
const FILE_MAX = 4096;
/** Characters: what `openssl rand -hex 8` gives, which nobody guesses over a network. */
const SAFE_LEN = 16;
/** RFC 6750 §2.1: b64token. */
const TOKEN = /^[\w.~+/-]+=*$/;
const OTHERS_MAY_READ = 0o004;

export interface TokenFile {
  readonly token: string;
  /** One line each: what is unsafe about it, and the cure. */
  readonly warnings: readonly string[];
}

/** @throws ConfigError: no such file, empty, or no token that a header can carry */
export function readTokenFile(path: string): TokenFile {
  const place = `--api-token-file ${path}`;
  const { text, mode } = readFile(path, place);
  const token = text.trim();
  if (token === '')
    throw new ConfigError(`${place}: is empty; write a token into it: openssl rand -hex 32 > ${path}`);
  if (!TOKEN.test(token)) {
    throw new ConfigError(
      `${place}: must hold one line of letters, digits, "-", ".", "_", "~", "+" and "/", such as openssl rand -hex 32 gives`,
    );
  }
  const warnings = [];
  if (mode & OTHERS_MAY_READ)
    warnings.push(`${place}: every user of this machine may read it: chmod 640 ${path}`);
  if (token.length < SAFE_LEN)
    warnings.push(`${place}: ${token.length} characters can be guessed: openssl rand -hex 32 gives 64`);
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
    throw new ConfigError(`${place}: cannot be read (${cause}); name a readable file with the token in it`);
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}
