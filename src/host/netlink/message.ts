/**
 * Netlink messages: header, fixed part and attributes (netlink(7), rtnetlink(7)).
 *
 *     nlmsghdr   length u32 │ type u16 │ flags u16 │ sequence u32 │ port u32
 *     fixed part (of the type of message)
 *     attributes length u16 │ type u16 │ value, padded to 4 bytes
 *
 * All numbers are in the byte order of the machine. The parser accepts no length that exceeds its
 * message, and ends at a malformed attribute.
 */
import { endianness } from 'node:os';

/** Byte order of the machine, for DataView. */
export const LITTLE = endianness() === 'LE';

const HEADER_LEN = 16;
const ATTRIBUTE_LEN = 4;
/** NLA_F_NESTED and NLA_F_NET_BYTEORDER, which are no part of the type. */
const TYPE_MASK = 0x3fff;
const NESTED = 0x8000;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_EXCL = 0x200;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_CREATE = 0x400;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

/** A received message without its header. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Fixed part and attributes. */
  readonly body: Uint8Array;
}

/** Attributes by type; the last of several with one type. */
export type Attributes = ReadonlyMap<number, Uint8Array>;

/** Splits received bytes into messages; ends at a message whose length is impossible. */
export function messagesIn(bytes: Uint8Array): Message[] {
  const view = viewOf(bytes);
  const messages: Message[] = [];
  for (let at = 0; at + HEADER_LEN <= bytes.length; ) {
    const length = view.getUint32(at, LITTLE);
    if (length < HEADER_LEN || length > bytes.length - at) break;
    messages.push({
      type: view.getUint16(at + 4, LITTLE),
      flags: view.getUint16(at + 6, LITTLE),
      sequence: view.getUint32(at + 8, LITTLE),
      body: bytes.subarray(at + HEADER_LEN, at + length),
    });
    at += padded(length);
  }
  return messages;
}

/** @param from offset of the first attribute: length of the fixed part, padded */
export function attributesIn(bytes: Uint8Array, from = 0): Attributes {
  const view = viewOf(bytes);
  const attributes = new Map<number, Uint8Array>();
  for (let at = from; at + ATTRIBUTE_LEN <= bytes.length; ) {
    const length = view.getUint16(at, LITTLE);
    if (length < ATTRIBUTE_LEN || length > bytes.length - at) break;
    attributes.set(
      view.getUint16(at + 2, LITTLE) & TYPE_MASK,
      bytes.subarray(at + ATTRIBUTE_LEN, at + length),
    );
    at += padded(length);
  }
  return attributes;
}

/** Attributes of a nested attribute; none when it is absent. */
export function nested(attributes: Attributes, type: number): Attributes {
  return attributesIn(attributes.get(type) ?? new Uint8Array(0));
}

/** @returns undefined when the attribute is absent or too short */
export function u32Of(attributes: Attributes, type: number): number | undefined {
  const value = attributes.get(type);
  return value === undefined || value.length < 4 ? undefined : viewOf(value).getUint32(0, LITTLE);
}

export function u8Of(attributes: Attributes, type: number): number | undefined {
  return attributes.get(type)?.[0];
}

/** Text of an attribute, with or without the final zero byte; '' when it is absent. */
export function textOf(attributes: Attributes, type: number): string {
  const value = attributes.get(type);
  if (value === undefined) return '';
  const end = value.indexOf(0);
  return Buffer.from(end < 0 ? value : value.subarray(0, end)).toString('utf8');
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Assembles one request. */
export class Request {
  readonly type: number;
  readonly flags: number;
  readonly #parts: Uint8Array[];

  /**
   * @param flags flags in addition to NLM_F_REQUEST; with NLM_F_DUMP it asks for a list, otherwise
   *   for an acknowledgement
   * @param fixed fixed part of the type
   */
  constructor(type: number, flags: number, fixed: Uint8Array) {
    this.type = type;
    this.flags = NLM_F_REQUEST | flags | ((flags & NLM_F_DUMP) === NLM_F_DUMP ? 0 : NLM_F_ACK);
    this.#parts = [fixed];
  }

  bytes(type: number, value: Uint8Array): this {
    this.#parts.push(attribute(type, value));
    return this;
  }

  u8(type: number, value: number): this {
    return this.bytes(type, Uint8Array.of(value));
  }

  u32(type: number, value: number): this {
    return this.bytes(type, u32(value));
  }

  /** Text without a final zero byte. */
  text(type: number, value: string): this {
    return this.bytes(type, Buffer.from(value, 'utf8'));
  }

  nest(type: number, attributes: readonly Uint8Array[]): this {
    return this.bytes(type | NESTED, join(attributes));
  }

  /** @param sequence number that its answers repeat */
  encode(sequence: number): Uint8Array {
    const body = join(this.#parts);
    const message = new Uint8Array(padded(HEADER_LEN + body.length));
    const view = viewOf(message);
    view.setUint32(0, HEADER_LEN + body.length, LITTLE);
    view.setUint16(4, this.type, LITTLE);
    view.setUint16(6, this.flags, LITTLE);
    view.setUint32(8, sequence, LITTLE);
    message.set(body, HEADER_LEN);
    return message;
  }
}

/** One attribute with its padding. */
export function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(padded(ATTRIBUTE_LEN + value.length));
  const view = viewOf(bytes);
  view.setUint16(0, ATTRIBUTE_LEN + value.length, LITTLE);
  view.setUint16(2, type, LITTLE);
  bytes.set(value, ATTRIBUTE_LEN);
  return bytes;
}

/** A nested attribute. */
export function nest(type: number, attributes: readonly Uint8Array[]): Uint8Array {
  return attribute(type | NESTED, join(attributes));
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value >>> 0, LITTLE);
  return bytes;
}

export function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
