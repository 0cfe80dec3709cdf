/**
 * Limits on connections, and on requests per connection, of an HTTP server's clients.
 *
 * - A *client* is a source address: one IPv4 address, one /64 of IPv6, this host's loopback, or all
 *   connections of a unix socket. A client has a share of the connections, so a client that opens
 *   as many as it can leaves room for others.
 * - When a share or the server is full, a new connection replaces the oldest one that waits for its
 *   client (idle, half a request, an answer that is not read). Without such a connection the new
 *   one is closed. When the server is full, the replaced connection is one of the client with most
 *   connections.
 * - Requests of one connection are handled one after another (RFC 9112 §9.3.2 requires their
 *   responses in this order). Node would start them all at once, and a response that waits before
 *   its first byte exerts no back-pressure. A limited number is queued; a request beyond it closes
 *   the connection.
 *
 * Time limits for requests and idle connections are settings of Node's server (`app.ts`).
 */
import { IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isLinkLocal, parseIpAddress } from '../wire/ip-address.js';

export interface ConnectionLimits {
  /** Maximum connections of a server. */
  readonly connections: number;
  /** Maximum connections of one client; `connections` alone limits those of a unix socket. */
  readonly perClient: number;
  /** Maximum requests of one connection queued behind the one being answered. */
  readonly queued: number;
}

/**
 * A request that stops the parser once its connection is closed. Node parses 64 KB at once, some
 * 1,800 requests, and checks only `upgrade` in between: an upgrade without a listener stops the
 * parser. Without this class the requests are created and ignored, which costs a hundred times as
 * much.
 */
export class StoppableRequest extends IncomingMessage {
  /** Set by the superclass constructor, so it must not be initialised here. */
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
  /** The exchange being handled. */
  current: Exchange | undefined;
  readonly queue: Exchange[];
}

/** Client name of connections without an IP address. */
const LOCAL = 'local';
/** Bytes of the /64 prefix of an IPv6 address (RFC 4291 §2.5.1). */
const NETWORK_LEN = 8;

export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #bySocket = new Map<Socket, Connection>();
  /** Connections by client, oldest first; a connection that becomes idle moves to the end. */
  readonly #byClient = new Map<string, Set<Connection>>();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** Accepts or rejects connections of this server from now on. */
  watch(server: Server): void {
    server.on('connection', (socket) => this.#accept(socket));
  }

  /**
   * @returns a listener for `request` events that runs `handle` for one request of a connection at
   * a time
   */
  inTurn(handle: RequestListener): RequestListener {
    return (request, response) => {
      const connection = this.#bySocket.get(request.socket);
      // The connection was closed while a chunk of many requests is still being parsed.
      if (connection === undefined) return;
      if (connection.current === undefined) this.#begin(connection, { request, response }, handle);
      else if (connection.queue.length < this.#limits.queued) connection.queue.push({ request, response });
      else this.#close(connection);
    };
  }

  /** True once the response headers are sent: nothing else may be written to the connection. */
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

  /** @returns false when vtepd is still handling a request of each connection */
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

/** True for an idle connection and for one whose request is incomplete. */
function waitsForRequest({ current }: Connection): boolean {
  return current === undefined || !current.request.complete;
}

/** True when the client has not read all data sent. */
function waitsForReader({ socket }: Connection): boolean {
  return socket.writableLength > 0;
}

/**
 * The client that a source address is counted for.
 *
 * @param address undefined for a unix socket
 */
export function clientOf(address: string | undefined): string {
  const parsed = address === undefined ? undefined : parseIpAddress(address);
  if (parsed === undefined) return LOCAL;
  const { family, bytes, text } = parsed;
  if (family === 4) return bytes[0] === 127 ? '127.0.0.0/8' : text;
  if (isLinkLocal(parsed)) return text;
  return Buffer.from(bytes.subarray(0, NETWORK_LEN)).toString('hex');
}
