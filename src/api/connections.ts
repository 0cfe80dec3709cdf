/**
 * Limits on the connections of HTTP clients, and on requests per connection.
 *
 * - A *client* is a source address: one IPv4 address, one /64 of IPv6, this host's loopback, or all
 *   connections of a unix socket. Each client has a limited share of the connections. So a client
 *   that opens as many connections as it can leaves room for other clients.
 * - When a client has used up its share, or the server has its maximum of connections, a new
 *   connection replaces the oldest connection that waits for its client: an idle connection, one
 *   with an incomplete request, or one with a response that is not read. If there is no such
 *   connection, the new connection is closed. When the maximum of the server is reached, the
 *   replaced connection is taken from the client with most connections.
 * - Requests of one connection are handled one after another (RFC 9112 §9.3.2 requires their
 *   responses in this order). Node would start all of them at once, and a client could make vtepd
 *   prepare any number of responses without reading one. A limited number of requests is queued; a
 *   request beyond this number closes the connection.
 *
 * Time limits for requests and idle connections are settings of Node's server (`app.ts`).
 */
import { IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isLinkLocal, parseIpAddress } from '../wire/ip-address.js';

export interface ConnectionLimits {
  /** Maximum connections of a server. */
  readonly connections: number;
  /** Maximum connections of one client. For the unix socket only `connections` applies. */
  readonly perClient: number;
  /** Maximum requests of one connection queued behind the one being answered. */
  readonly queued: number;
}

/**
 * A request that stops the parser as soon as its connection is closed. Node parses up to 64 KB at
 * once, about 1,800 requests. Between two requests the parser checks only `upgrade`: an upgrade for
 * which there is no listener stops the parser. Without this class the remaining requests would be
 * created and ignored, at a hundred times the cost.
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
  /** The request and response that are being handled. */
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
      // The connection is closed. Node still parses the requests that it has already received.
      if (connection === undefined) return;
      if (connection.current === undefined) this.#begin(connection, { request, response }, handle);
      else if (connection.queue.length < this.#limits.queued) connection.queue.push({ request, response });
      else this.#close(connection);
    };
  }

  /** True as soon as response headers are sent: no other response must be written after them. */
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

  /** @returns false when none of the connections waits for its client */
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
 * Returns the client to which a source address belongs, as text.
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
