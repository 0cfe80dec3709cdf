/**
 * Requests to the kernel by netlink, and their answers (netlink(7), rtnetlink(7)).
 *
 * A request that the kernel refuses becomes a NetlinkError with the operation, the errno, and the
 * kernel's own words where it gives some (NLMSGERR_ATTR_MSG). A dump that changes of the kernel's
 * tables have interrupted (NLM_F_DUMP_INTR) is repeated.
 */
import { getSystemErrorMap } from 'node:util';
import { loadShim } from '../../abi/binding.js';
import { ERRNO, errnoName } from '../../abi/errno.js';
import { HostError, NEEDS_RIGHTS } from '../host-error.js';
import {
  attributesIn,
  join,
  LITTLE,
  type Message,
  messagesIn,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  type Request,
  textOf,
  viewOf,
} from './message.js';

export const NETLINK_ROUTE = 0;
export const NETLINK_XFRM = 6;
export const NETLINK_NETFILTER = 12;

/** NLMSGERR_ATTR_MSG: the kernel's words. */
const ERROR_TEXT = 1;
/** `struct nlmsgerr`: error, and the header of the request (NETLINK_CAP_ACK). */
const ERROR_LEN = 4 + 16;
const DUMP_ATTEMPTS = 20;
/** Most requests sent together: their answers must fit into the socket buffer. */
const REQUESTS_MAX = 64;

/** A request that the kernel refused. */
export class NetlinkError extends HostError {
  /** Negative errno. */
  readonly errno: number;

  constructor(what: string, errno: number, words = '') {
    super(`cannot ${what}: ${explain(errno)}${words === '' ? '' : `: ${words}`}${rights(errno)}`);
    this.errno = errno;
  }
}

/** A request with the operation for error messages, such as `set the MTU of vtep100 to 9000`. */
export interface Operation {
  readonly what: string;
  readonly request: Request;
  /** Interface index of the device that the request sets. */
  readonly device?: number;
  /** Protocol of netlink(7); NETLINK_ROUTE if absent. */
  readonly protocol?: number;
}

/**
 * Makes changes in their order.
 *
 * @throws NetlinkError of the first change that failed; later changes are made all the same
 */
export async function change(...operations: readonly Operation[]): Promise<void> {
  let first: NetlinkError | undefined;
  for (const { operations: some, answers } of await askAll(operations)) {
    for (const message of answers) {
      if (message.type !== NLMSG_ERROR) continue;
      const { errno, words } = errorOf(message);
      if (errno < 0) first ??= new NetlinkError(some[message.sequence]?.what ?? '', errno, words);
    }
  }
  if (first) throw first;
}

/** Asks for one object each. @returns the object, or the kernel's refusal @throws NetlinkError */
export async function getEach(operations: readonly Operation[]): Promise<(Message | NetlinkError)[]> {
  const found: (Message | NetlinkError)[] = [];
  for (const { operations: some, answers } of await askAll(operations)) {
    for (const [sequence, { what }] of some.entries()) {
      const own = answers.filter((message) => message.sequence === sequence);
      const object = own.find(({ type }) => type !== NLMSG_ERROR);
      const { errno, words } = own.length === 0 ? NO_ERROR : errorOf(own.at(-1)!);
      found.push(object ?? new NetlinkError(what, errno < 0 ? errno : -ERRNO.ENODATA, words));
    }
  }
  return found;
}

/**
 * Asks for a list.
 *
 * @throws NetlinkError; also when each attempt was interrupted, because such a list possibly lacks
 *   objects
 */
export async function dump(operation: Operation): Promise<Message[]> {
  for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
    const answers = await ask([operation]);
    const objects = answers.filter(({ type }) => type !== NLMSG_ERROR && type !== NLMSG_DONE);
    const error = answers.find(({ type }) => type === NLMSG_ERROR);
    const { errno, words } = error === undefined ? endOf(answers) : errorOf(error);
    if (errno < 0) throw new NetlinkError(operation.what, errno, words);
    if (!answers.some(({ flags }) => flags & NLM_F_DUMP_INTR)) return objects;
  }
  throw new NetlinkError(operation.what, -ERRNO.EINTR, `the list changed in ${DUMP_ATTEMPTS} attempts`);
}

const NO_ERROR = { errno: 0, words: '' };

interface Answered {
  readonly operations: readonly Operation[];
  readonly answers: readonly Message[];
}

/** Asks in groups of at most REQUESTS_MAX; the answers repeat the index within their group. */
async function askAll(operations: readonly Operation[]): Promise<Answered[]> {
  const groups: Answered[] = [];
  for (let from = 0; from < operations.length; from += REQUESTS_MAX) {
    const group = operations.slice(from, from + REQUESTS_MAX);
    groups.push({ operations: group, answers: await ask(group) });
  }
  return groups;
}

async function ask(operations: readonly Operation[]): Promise<Message[]> {
  const bytes = join(operations.map(({ request }, sequence) => request.encode(sequence)));
  const [{ protocol = NETLINK_ROUTE }] = operations;
  const answer = await loadShim().netlinkRequest(protocol, bytes);
  if (typeof answer === 'number') throw new NetlinkError(operations[0].what, answer);
  return messagesIn(answer);
}

function errorOf({ body }: Message): { errno: number; words: string } {
  if (body.length < 4) return NO_ERROR;
  return {
    errno: viewOf(body).getInt32(0, LITTLE),
    words: textOf(attributesIn(body, ERROR_LEN), ERROR_TEXT),
  };
}

/** Status of a dump, in the body of its last message. */
function endOf(answers: readonly Message[]): { errno: number; words: string } {
  const done = answers.find(({ type }) => type === NLMSG_DONE);
  if (done === undefined || done.body.length < 4)
    return { errno: -ERRNO.ENODATA, words: 'the list has no end' };
  return { errno: viewOf(done.body).getInt32(0, LITTLE), words: '' };
}

function explain(errno: number): string {
  // Node has words about sockets for this errno.
  if (errno === -ERRNO.EOPNOTSUPP) return 'operation not supported (EOPNOTSUPP)';
  const [name, text] = getSystemErrorMap().get(errno) ?? [errnoName(errno), ''];
  return text === '' ? name : `${text} (${name})`;
}

function rights(errno: number): string {
  return errno === -ERRNO.EPERM ? `; ${NEEDS_RIGHTS}` : '';
}
