/**
 * Bounds on what clients of an HTTP server hold: connections, and requests on each of them.
 *
 * - A *client* is a source address: one IPv4 address, one /64 of IPv6, this host's loopback, or
 *   everything that comes by a unix socket. A client has a share of the connections, so a client
 *   that takes all it can get leaves room for the others.
 * - When a share or the server is full, a new connection replaces the oldest one that waits for its
 *   client (idle, half a request, an answer that is not read). Without such a connection the new one
 *   is closed. When the server is full, the client with most connections pays.
 * - Requests of one connection are handled one after another (RFC 9112 §9.3.2 wants their answers in
 *   this order). Node itself would begin them all at once, and an answer that waits before its first
 *   byte exerts no back-pressure. Some are queued; one more closes the connection.
 *
 * How long a request or an idle connection may take is a setting of Node's server (`app.ts`).
 */
import { IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isLinkLocal, parseIpAddress } from '../wire/ip-address.js';

export interface ConnectionLimits {
  /** Connections of a server. */
  readonly connections: number;
  /** Connections of one client; those of a unix socket are bounded by `connections` alone. */
  readonly perClient: number;
  /** Requests of one connection that wait behind the one that is being answered. */
  readonly queued: number;
}

/**
 * A request that ends the parsing of its chunk when its connection is closed already. Node parses 64 KB
 * at once, some 1,800 requests, and looks at nothing but `upgrade` in between: an upgrade that nobody
 * takes stops the parser. Without this the requests are made and ignored, which costs a hundred times
 * as much.
 */
export class StoppableRequest extends IncomingMessage {
  /** Set by the constructor of the class above, so it must not be initialized here. */
  declare private isUpgrade: boolean | null;

  get upgrade(): boolean {
    return this.isUpgrade === true || this.socket.destroyed;
  }

  set upgrade(isUpgrade: boolean) {
    this.isUpgrade = isUpgrade;
  }
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

interface Connection {
  readonly socket: Socket;
  readonly client: string;
  /** The exchange that the handler has. */
  current: Exchange | undefined;
  readonly queue: Exchange[];
}

/** The client of everything that has no IP address. */
const LOCAL = 'local';
/** Bytes of an IPv6 address that name its network (RFC 4291 §2.5.1). */
const NETWORK_LEN = 8;

export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #bySocket = new Map<Socket, Connection>();
  /** Each client's connections. A connection that becomes idle goes to the end. */
  readonly #byClient = new Map<string, Set<Connection>>();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** Counts the connections of this server. */
  watch(server: Server): void {
    server.on('connection', (socket) => this.#accept(socket));
  }

  /** @returns a listener for `request` events, which hands a connection's requests on one after another */
  inTurn(handle: RequestListener): RequestListener {
    return (request, response) => {
      const connection = this.#bySocket.get(request.socket);
      // Its connection was closed while a chunk of many requests is still being parsed.
      if (connection === undefined) return;
      if (connection.current === undefined) this.#begin(connection, { request, response }, handle);
      else if (connection.queue.length < this.#limits.queued) connection.queue.push({ request, response });
      else this.#close(connection);
    };
  }

  /** True while an answer is under way: nothing else may be written to the connection. */
  isAnswering(socket: Socket): boolean {
    return this.#bySocket.get(socket)?.current?.response.headersSent === true;
  }

  #accept(socket: Socket): void {
    const client = clientOf(socket.remoteAddress);
    if (!this.#makeRoom(client)) {
      socket.destroy();
      return;
    }
    const connection = { socket, client, current: undefined, queue: [] };
    this.#bySocket.set(socket, connection);
    const theirs = this.#byClient.get(client) ?? new Set();
    this.#byClient.set(client, theirs.add(connection));
    socket.once('close', () => this.#forget(connection));
  }

  #makeRoom(client: string): boolean {
    const { connections, perClient } = this.#limits;
    const theirs = this.#byClient.get(client);
    const share = client === LOCAL ? connections : perClient;
    if (theirs !== undefined && theirs.size >= share) return this.#closeOldest(theirs);
    return this.#bySocket.size < connections || this.#closeOldest(this.#largestClient());
  }

  #largestClient(): ReadonlySet<Connection> {
    let largest: ReadonlySet<Connection> = new Set();
    for (const theirs of this.#byClient.values()) if (theirs.size > largest.size) largest = theirs;
    return largest;
  }

  /** @returns false when vtepd owes each of them an answer */
  #closeOldest(connections: ReadonlySet<Connection>): boolean {
    const all = [...connections];
    const oldest = all.find(waitsForRequest) ?? all.find(waitsForReader);
    if (oldest === undefined) return false;
    this.#close(oldest);
    return true;
  }

  #close(connection: Connection): void {
    connection.socket.destroy();
    this.#forget(connection);
  }

  #forget(connection: Connection): void {
    const { socket, client, queue } = connection;
    queue.length = 0;
    this.#bySocket.delete(socket);
    const theirs = this.#byClient.get(client);
    theirs?.delete(connection);
    if (theirs?.size === 0) this.#byClient.delete(client);
  }

  #begin(connection: Connection, exchange: Exchange, handle: RequestListener): void {
    connection.current = exchange;
    exchange.response.once('close', () => {
      connection.current = undefined;
      const next = connection.queue.shift();
      if (next !== undefined) this.#begin(connection, next, handle);
      else this.#idle(connection);
    });
    handle(exchange.request, exchange.response);
  }

  #idle(connection: Connection): void {
    const theirs = this.#byClient.get(connection.client);
    if (theirs?.delete(connection)) theirs.add(connection);
  }
}

/** Idle, or with a request that has not arrived completely. */
function waitsForRequest({ current }: Connection): boolean {
  return current === undefined || !current.request.complete;
}

/** Its client has not taken what was sent. */
function waitsForReader({ socket }: Connection): boolean {
  return socket.writableLength > 0;
}

/** The name under which a source address is bounded. @param address undefined: a unix socket */
export function clientOf(address: string | undefined): string {
  const parsed = address === undefined ? undefined : parseIpAddress(address);
  if (parsed === undefined) return LOCAL;
  const { family, bytes, text } = parsed;
  if (family === 4) return bytes[0] === 127 ? '127.0.0.0/8' : text;
  if (isLinkLocal(parsed)) return text;
  return Buffer.from(bytes.subarray(0, NETWORK_LEN)).toString('hex');
}
