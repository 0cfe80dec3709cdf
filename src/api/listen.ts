/**
 * Where the API listens: a TCP port of loopback, or a unix socket that root and its group may use. A socket file
 * that nobody answers on is what a killed daemon left, and is replaced; one that is alive is left alone.
 */
import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { ApiListen } from '../config/values.js';

const SOCKET_MODE = 0o660;

/** The API cannot listen: one line with the cause and the cure. */
export class ListenError extends Error {
  /** The address is not there yet; it may come (a loopback interface that is down). */
  readonly notYet: boolean;

  constructor(message: string, notYet = false) {
    super(message);
    this.notYet = notYet;
  }
}

/**
 * Closing the server ends the listening and removes the socket file.
 *
 * @param flag whose value it is, for messages
 * @returns where it listens, as people call it: `http://127.0.0.1:8789`, `unix:/run/vtepd.sock`; '' when it is off
 * @throws ListenError
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
      // Until here the process's umask decides; one that lets others write would be a choice of the operator.
      await chmod(api.path, SOCKET_MODE);
      return `unix:${api.path}`;
  }
}

async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new ListenError(
      `--api unix:${path}: there is a file of that name that is no socket; name another path`,
    );
  }
  if (await answers(path)) {
    throw new ListenError(`--api unix:${path}: another process listens there; stop it or name another path`);
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
      else reject(new ListenError(`--api unix:${path}: cannot tell whether it is in use (${error.code})`));
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
  const elsewhere = `choose another place with ${flag}`;
  switch (code) {
    case 'EADDRINUSE':
      return `another process listens there; stop it, or ${elsewhere}${flag === '--api' ? ', or --api off' : ''}`;
    case 'EADDRNOTAVAIL':
      return 'this machine does not have the address; is the loopback interface up?';
    // libuv says EACCES for a directory that does not exist, too.
    case 'EACCES':
      return `no permission, or no such directory; make the directory or ${elsewhere}`;
    default:
      return undefined;
  }
}
