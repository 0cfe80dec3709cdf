/**
 * Opens the listener of the API: a loopback TCP port or a unix socket.
 *
 * A unix socket is accessible to root and to the group of its file. If no process listens on an
 * existing socket file, a killed daemon has left the file, and the file is replaced. A socket in
 * use is left alone.
 */
import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { ApiListen } from '../config/values.js';

const SOCKET_MODE = 0o660;

/** The API cannot listen. The message is one line with cause and remedy. */
export class ListenError extends Error {
  /**
   * True when the address does not exist yet but can appear later: its loopback interface is down.
   */
  readonly notYet: boolean;

  constructor(message: string, notYet = false) {
    super(message);
    this.notYet = notYet;
  }
}

/**
 * Starts listening. Closing the server closes the listener and removes the socket file.
 *
 * @param flag flag that the address comes from, for messages
 * @returns the address for display: `http://127.0.0.1:8789`, `unix:/run/vtepd.sock`; '' if `api` is
 * off
 * @throws ListenError when the address is in use, does not exist or is not permitted
 */
export async function listen(server: FastifyInstance, api: ApiListen, flag = '--api'): Promise<string> {
  switch (api.kind) {
    case 'off':
      return '';
    case 'tcp':
      return await server
        .listen({ host: api.host, port: api.port })
        .catch(explain(flag, `${api.host}:${api.port}`));
    case 'unix':
      await removeStaleSocket(api.path);
      await server.listen({ path: api.path }).catch(explain(flag, `unix:${api.path}`));
      // Until this call the umask determines the mode. Whether the umask permits other users to
      // connect is the choice of the operator.
      await chmod(api.path, SOCKET_MODE);
      return `unix:${api.path}`;
  }
}

async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new ListenError(`--api unix:${path}: the path exists and is not a socket; choose another path`);
  }
  if (await answers(path)) {
    throw new ListenError(
      `--api unix:${path}: another process listens there; stop it or choose another path`,
    );
  }
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else
        reject(
          new ListenError(
            `--api unix:${path}: cannot determine whether the socket is in use (${error.code})`,
          ),
        );
    });
  });
}

function explain(flag: string, place: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    const cause = causeOf(error.code, flag) ?? `cannot listen there (${error.code ?? error.message})`;
    throw new ListenError(`${flag} ${place}: ${cause}`, error.code === 'EADDRNOTAVAIL');
  };
}

function causeOf(code: string | undefined, flag: string): string | undefined {
  const elsewhere = `choose another address with ${flag}`;
  switch (code) {
    case 'EADDRINUSE':
      return `another process listens there; stop it, or ${elsewhere}${flag === '--api' ? ', or --api off' : ''}`;
    case 'EADDRNOTAVAIL':
      return 'this machine does not have the address; is the loopback interface up?';
    // libuv reports EACCES also for a directory that does not exist.
    case 'EACCES':
      return `permission denied, or no such directory; create the directory or ${elsewhere}`;
    default:
      return undefined;
  }
}
